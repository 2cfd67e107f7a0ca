"""How far a long phase has come and when it will end: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

from supernet.training.interruptions import unbroken

SECONDS_BETWEEN_LINES = 10.0
REFRESHES_PER_SECOND = 2.0


class Advance(Protocol):
    def __call__(self, amount: int = 1, note: str = "", *, at: int | None = None) -> None:
        """Count `amount` more, or `at` in all; the note is shown beside the bar."""


@contextmanager
def phase(name: str, total: int, console: Console | None = None) -> Iterator[Advance]:
    """Show the progress of one phase: `with phase("training", total=400) as advance: ...`.

    Args:
        console: where it is shown, unless it is quiet; inside a `nas.cli.screen.Screen`, that screen's.
    """
    console = console or Console()
    if console.quiet:
        yield lambda *_, **__: None
        return
    pace = _Pace(total)
    if console.is_terminal:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[text]}"))
        progress = Progress(*columns, console=console, refresh_per_second=REFRESHES_PER_SECOND)
        task = progress.add_task(name, total=total, text="")

        def move(amount: int = 1, note: str = "", *, at: int | None = None) -> None:
            pace.move(amount, at)
            progress.update(task, completed=pace.done, text=", ".join(filter(None, (pace.left(), note))))

        try:
            with unbroken():
                progress.start()
            yield move
        finally:
            with unbroken():
                progress.stop()
        return

    last = time.monotonic()

    def say(amount: int = 1, note: str = "", *, at: int | None = None) -> None:
        nonlocal last
        pace.move(amount, at)
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES or pace.done >= total:
            last = now
            share = f"{pace.done}/{total} ({100 * pace.done // max(total, 1)} %)"
            print(": ".join((name, ", ".join(filter(None, (share, pace.left(), note))))), file=console.file, flush=True)

    yield say


class _Pace:
    """Counts, and tells the time left from the pace since the first count: what an earlier run did took no time."""

    def __init__(self, total: int) -> None:
        self.done = 0
        self._total = total
        self._start: tuple[float, int] | None = None

    def move(self, amount: int, at: int | None) -> None:
        self.done = self.done + amount if at is None else at
        if self._start is None:
            self._start = (time.monotonic(), self.done)

    def left(self) -> str:
        if self._start is None or self.done >= self._total or self.done <= self._start[1]:
            return ""
        start, done = self._start
        seconds = (time.monotonic() - start) / (self.done - done) * (self._total - self.done)
        return f"{duration(seconds)} left"


def duration(seconds: float) -> str:
    """A duration for people: `45 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
