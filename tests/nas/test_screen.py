"""What stands on a terminal while a search runs, as a terminal emulator shows it, and what is left of it after Ctrl-C."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console, RenderableType
from rich.text import Text

from nas.cli import screen as screens
from nas.cli.plot import plot
from nas.cli.progress import phase
from nas.cli.screen import Screen
from nas.search.view import search_view
from nas.study.record import Result, StudySummary
from nas.train.view import training_view
from proxies.cost import parse_budget
from proxies.published import Parent, parents_within
from space.architecture import Architecture
from space.files import load_space
from supernet.score import Score

PHASES = ("count", "supernet", "search", "report")
PATIENCE = 60.0
ROOT = Path(__file__).parents[2]


@cache
def published() -> list[Parent]:
    return parents_within(load_space("hybrid-224"), parse_budget("4.5GFLOPs", floor=0.9))


def summary(accuracies: Sequence[float], first: Architecture | None = None) -> StudySummary:
    """Of trials with these accuracies; the first of them evaluated an architecture of its own."""
    other, costs = load_space("hybrid-224").smallest(), {"macs": 4_400_000_000, "params": 22_100_000}
    results = [
        Result(number, number, {}, first or other if number == 0 else other, costs, "random", score, 1.0)
        for number, score in enumerate(Score(accuracy, 0.02, accuracy - 2, 0.02, 100) for accuracy in accuracies)
    ]
    return StudySummary(results, {9: "of an accident"}, num_running=2, num_interrupted=3, num_duplicates=7)


def lines_of(view: RenderableType, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    return ["".join(segment.text for segment in line).rstrip() for line in console.render_lines(view)]


def emulated(written: str, width: int, height: int) -> pyte.Screen:
    shown = pyte.Screen(width, height)
    # A terminal's driver adds the carriage returns.
    pyte.Stream(shown).feed(written.replace("\n", "\r\n"))
    return shown


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 40)])
def test_the_screen_shows_phases_the_best_beside_a_published_network_counts_and_a_plot(
    width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parents = published()
    monkeypatch.setattr(screens, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(screens, "SHARE", float("inf"))
    mark = parents[0].architecture
    found = summary([0.4, 0.55, 0.52, 0.6, 0.58], mark)
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=width, height=height, _environ={})
    with Screen(console, PHASES) as screen:
        screen.reach("search", partial(search_view, found, parents, 2))
        with phase("search", 20, console) as advance:
            advance(at=1)
            advance(at=5)
            console.print("a line of the command's own")
            deadline = time.monotonic() + PATIENCE
            while "25%" not in "\n".join((seen := emulated(written.getvalue(), width, height)).display):
                assert time.monotonic() < deadline
                time.sleep(0.05)
    text = "\n".join(line.rstrip() for line in seen.display)
    assert seen.cursor.hidden
    assert "a line of the command's own" in text
    assert "✓ count  ✓ supernet  ▶ search  · report  3 of 4" in text
    assert "best: trial 3" in text
    assert "-1.400  60.0 [56.0, 63.8]    4.40     22.1" in text
    line = next(line for line in text.splitlines() if line.startswith(mark.name))
    assert "40.0 [36.2, 44.0]" in line
    # What its authors report is of other data.
    assert f"{parents[0].published.top1:.1f}" not in text
    assert f"{parents[0].cost.macs / 1e9:.3g}" in line
    assert "5 evaluated, 2 running, 2 workers, 7 duplicates dropped, 1 failed, 3" in text
    assert text.count("•") == 5
    # What stays is what was printed, and that the phase is over.
    left = emulated(written.getvalue(), width, height)
    assert not left.cursor.hidden
    assert not any("▶" in line for line in left.display)


def test_without_a_terminal_there_is_no_screen() -> None:
    written = io.StringIO()
    console = Console(file=written)
    with Screen(console, PHASES) as screen:
        screen.reach("search", partial(search_view, summary([0.5]), published(), 2))
        with phase("search", 1, console) as advance:
            advance()
    assert written.getvalue() == "search: 1/1 (100 %)\n"


@settings(max_examples=30)
@given(
    accuracies=st.lists(st.floats(0, 1), max_size=30), width=st.integers(60, 160), height=st.integers(3, 60), has_parents=st.booleans()
)
def test_a_view_never_has_more_rows_than_there_are(accuracies: list[float], width: int, height: int, has_parents: bool) -> None:
    shown = lines_of(search_view(summary(accuracies), published() if has_parents else [], 2, width, height), width, height)
    # The table and the counts are there always; on a smaller terminal they are cut off.
    assert len(shown) <= max(height, 5)
    losses = {step: 1.0 / step for step in range(1, len(accuracies) + 1)}
    assert len(lines_of(training_view(losses, width, height), width, height)) <= max(height, 1)


def test_a_published_network_that_was_not_evaluated_has_no_score() -> None:
    shown = lines_of(search_view(summary([0.5]), published(), 1, 80, 24), 80, 24)
    assert any(line.startswith(published()[0].architecture.name) and "–" in line for line in shown)


@settings(max_examples=30)
@given(ys=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40), width=st.integers(30, 120), height=st.integers(4, 20))
def test_a_plot_has_its_size_its_extremes_and_its_points_in_order(ys: list[float], width: int, height: int) -> None:
    points = list(enumerate(ys, start=1))
    rows = plot([], points, width, height).plain.splitlines()
    assert len(rows) == height
    assert max(map(len, rows)) == width
    assert f"{max(ys):.4g}" in rows[0]
    assert f"{min(ys):.4g}" in rows[-2]
    # A line alone covers as many columns as there are, from edge to edge.
    line = plot([(1, min(ys)), (2, max(ys))], [], width, height).plain.splitlines()
    assert all(any(row[column] not in "\u2800 " for row in line[:-1]) for column in range(line[0].index("│") + 1, width))


class Interrupted(io.StringIO):
    """A terminal on which Ctrl-C is pressed as soon as the main thread has written to it so many times."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.left = writes

    def write(self, text: str, /) -> int:
        written = super().write(text)
        if text and threading.current_thread() is threading.main_thread():
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)
        return written


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """Tests that run in the background are deaf to it."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_within_a_drawing_waits_for_its_end() -> None:
    for writes in range(1, 100):
        terminal = Interrupted(writes)
        console = Console(file=terminal, force_terminal=True, width=80, height=24, _environ={})
        try:
            with Screen(console, ("first", "second")) as screen:
                screen.reach("second", lambda width, height: Text("a view"))
                with phase("work", 10, console) as advance:
                    advance()
        except KeyboardInterrupt:
            pass
        left = emulated(terminal.getvalue(), 80, 24)
        assert not left.cursor.hidden, f"after {writes} writes"
        # A phase's own bar stays, to say how far it came.
        lines = [line.strip() for line in left.display if line.strip()]
        assert len(lines) <= 1, f"after {writes} writes"
        assert not any("▶" in line for line in lines), f"after {writes} writes"
        if terminal.left > 0:
            break
    assert 3 < writes < 99


LONG_COMMAND = """
import sys, time
from rich.console import Console
from rich.text import Text
from nas.cli.command import exit_code_of
from nas.cli.progress import phase
from nas.cli.screen import Screen

def run():
    console = Console()
    with Screen(console, ("first", "second")) as screen:
        screen.reach("second", lambda width, height: Text("a view"))
        with phase("work", 1000, console) as advance:
            while True:
                advance()
                time.sleep(0.05)

sys.exit(exit_code_of(run))
"""


def test_ctrl_c_leaves_a_sane_terminal_and_one_line() -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}

    def own_terminal() -> None:
        # So that Ctrl-C, written to the terminal, is a signal, also where the tests themselves run in the background, deaf to it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.setsid()
        os.close(os.open(os.ttyname(0), os.O_RDWR))

    process = subprocess.Popen(
        [sys.executable, "-c", LONG_COMMAND], stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment, preexec_fn=own_terminal
    )
    os.close(theirs)
    shown = pyte.Screen(80, 24)
    stream, deadline, is_stopped = pyte.ByteStream(shown), time.monotonic() + PATIENCE, False
    try:
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    stream.feed(os.read(ours, 65536))
                except OSError:
                    # The other side was closed.
                    break
            if not is_stopped and any("a view" in line for line in shown.display) and any("work" in line for line in shown.display):
                assert shown.cursor.hidden
                os.write(ours, b"\x03")
                is_stopped = True
        assert process.wait(timeout=10) == 130
    finally:
        process.kill()
        os.close(ours)
    text = "\n".join(shown.display)
    assert is_stopped
    assert not shown.cursor.hidden
    assert "stopped; everything finished so far is kept" in text
    assert "▶" not in text
