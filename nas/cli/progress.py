"""The progress of a long phase and the time left: a bar on a terminal, a line every few percent elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

from supernet.training.interruptions import unbroken

PERCENT_BETWEEN_LINES = 5
REFRESHES_PER_SECOND = 2.0


class Advance(Protocol):
    def __call__(self, amount: int = 1, note: str = "", *, at: int | None = None, was_done: bool = False) -> None:
        """Count `amount` more, or `at` in all; the note is shown beside the bar.

        Args:
            was_done: an earlier run did this amount. The first `at` says how much was done before.
        """


@contextmanager
def phase(name: str, total: int, console: Console | None = None) -> Iterator[Advance]:
    """Show the progress of one phase: `with phase("training", total=400) as advance: ...`.

    Args:
        console: where it is shown, unless it is quiet; inside a `nas.cli.screen.Screen`, that screen's.
    """
    console = console or Console()
    if console.quiet:
        yield lambda *_, **__: None
    elif not console.is_terminal:
        yield _Counter(total, _lines(name, total, console))
    else:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[text]}"))
        bar = Progress(*columns, console=console, refresh_per_second=REFRESHES_PER_SECOND)
        task = bar.add_task(name, total=total, text="")
        try:
            with unbroken():
                bar.start()
            yield _Counter(total, lambda done, text: bar.update(task, completed=done, text=text))
        finally:
            with unbroken():
                bar.stop()


def _lines(name: str, total: int, console: Console) -> Callable[[int, str], None]:
    """Shows progress as a line each time that so many percent more are done, and one at the end."""
    shown = 0

    def show(done: int, text: str) -> None:
        nonlocal shown
        percent = 100 * done // max(total, 1)
        if percent // PERCENT_BETWEEN_LINES > shown // PERCENT_BETWEEN_LINES or (done >= total and percent != shown):
            shown = percent
            share = f"{done}/{total} ({percent} %)"
            print(f"{name}: {share}, {text}" if text else f"{name}: {share}", file=console.file, flush=True)

    return show


class _Counter:
    """Counts, and estimates the time left from the pace of this run alone.

    rich's own estimate would count what an earlier run did as done just now.
    """

    def __init__(self, total: int, show: Callable[[int, str], None]) -> None:
        self._total, self._show = total, show
        self._done = self._done_before = 0
        self._start = time.monotonic()
        self._is_new = True

    def __call__(self, amount: int = 1, note: str = "", *, at: int | None = None, was_done: bool = False) -> None:
        self._done = self._done + amount if at is None else at
        if at is not None and self._is_new:
            self._start, self._done_before = time.monotonic(), at
        elif was_done:
            self._done_before += amount
        self._is_new = False
        self._show(self._done, ", ".join(filter(None, (self._left(), note))))

    def _left(self) -> str:
        if self._done >= self._total or self._done <= self._done_before:
            return ""
        seconds = (time.monotonic() - self._start) / (self._done - self._done_before) * (self._total - self._done)
        return f"{duration(seconds)} left"


def duration(seconds: float) -> str:
    """A duration for people: `45 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
