"""The live screen of a long command: which of its phases runs, and what it has found so far, above the phase's own bar.

The thread that draws it makes its content anew every few seconds, from what it can read without waiting. Without a terminal there is no
screen, and phases print lines of progress.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.segment import SegmentLines
from rich.text import Text

from nas.cli.progress import REFRESHES_PER_SECOND, duration
from supernet.training.interruptions import unbroken

SHARE = 0.005
"""The largest share of a core's time for making views."""
LEAST_SECONDS = 1.0
"""Between two views."""
BELOW = 2
"""Rows that the bar and the line under it take."""

View = Callable[[int, int], RenderableType]
"""What to show on so many columns and rows."""


class Screen:
    """A command's screen while `with screen:` runs.

    Args:
        console: the terminal; what is printed on it meanwhile appears above, and the bar of `nas.cli.progress.phase` below.
        phases: of the command, in order.
    """

    def __init__(self, console: Console, phases: Sequence[str]) -> None:
        self.console = console
        self._phases = tuple(phases)
        self._phase = self._phases[0]
        self._start = time.monotonic()
        self._view: View | None = None
        self._seen = SegmentLines([])
        self._next = 0.0
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=REFRESHES_PER_SECOND, transient=True)

    def __enter__(self) -> Screen:
        if self.console.is_terminal and not self.console.quiet:
            try:
                with unbroken():
                    self._live.start()
            except KeyboardInterrupt:
                self._live.stop()
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with unbroken():
            self._live.stop()

    def reach(self, phase: str, view: View | None = None) -> None:
        """Begin a phase and show its view, which another thread makes anew now and then, in place of the last phase's."""
        self._phase, self._view, self._seen, self._next = phase, view, SegmentLines([]), 0.0
        if self._live.is_started:
            with unbroken():
                self._live.refresh()

    def _render(self) -> RenderableType:
        width, height = self.console.size
        start, before = time.monotonic(), time.thread_time()
        if self._view is not None and start >= self._next:
            # Kept as rendered lines, since the bar below is drawn more often.
            self._seen = SegmentLines(self.console.render_lines(self._view(width, height - BELOW - 1), pad=False), new_lines=True)
            self._next = start + max(LEAST_SECONDS, (time.thread_time() - before) / SHARE)
        return Group(self._headline(start), self._seen)

    def _headline(self, now: float) -> Text:
        reached = self._phases.index(self._phase)
        line = Text(no_wrap=True, overflow="ellipsis")
        for number, phase in enumerate(self._phases):
            mark, style = ("✓", "green") if number < reached else ("▶", "bold") if number == reached else ("·", "dim")
            line.append(f"{mark} {phase}  ", style)
        line.append(f"{reached + 1} of {len(self._phases)}, {duration(now - self._start)}", "dim")
        return line
