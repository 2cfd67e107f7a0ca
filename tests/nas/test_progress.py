"""What a user sees of a long phase."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from nas.cli import progress
from nas.cli.progress import duration, phase


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(("steps", "seconds", "lines"), [(100, 1.0, 20), (100, 3600.0, 20), (7, 1.0, 7), (100_000, 0.0, 20)])
def test_lines_by_percent_where_there_is_no_terminal(steps: int, seconds: float, lines: int, clock: list[float]) -> None:
    out = io.StringIO()
    with phase("training", steps, Console(file=out)) as advance:
        for step in range(steps):
            clock[0] += seconds
            advance(note=f"loss {step}")
    shown = out.getvalue().splitlines()
    assert len(shown) == lines
    assert shown[-1] == f"training: {steps}/{steps} (100 %), loss {steps - 1}"
    if (steps, seconds) == (100, 1.0):
        assert shown[0] == "training: 5/100 (5 %), 1 min 35 s left, loss 4"


def test_what_is_done_already_is_one_line() -> None:
    out = io.StringIO()
    with phase("training", 100, Console(file=out)) as advance:
        for _ in range(3):
            advance(at=100)
    assert out.getvalue().splitlines() == ["training: 100/100 (100 %)"]


def test_what_an_earlier_run_did_counts_for_no_time(clock: list[float]) -> None:
    out = io.StringIO()
    with phase("training", 100, Console(file=out)) as advance:
        for step in range(51, 71):
            clock[0] += 1.0
            advance(at=step)
    assert out.getvalue().splitlines()[-1] == "training: 70/100 (70 %), 30 s left"


def test_of_parts_that_end_together_the_first_takes_time_as_well(clock: list[float]) -> None:
    out = io.StringIO()
    with phase("training", 10, Console(file=out)) as advance:
        advance(2, was_done=True)
        clock[0] += 60.0
        advance()
        advance()
    times = [line.split(", ", 1)[1] for line in out.getvalue().splitlines()[1:]]
    assert times == ["7 min 00 s left", "3 min 00 s left"]


def test_a_bar_on_a_terminal() -> None:
    out = io.StringIO()
    with phase("training", 4, Console(file=out, force_terminal=True, width=100)) as advance:
        for _ in range(4):
            advance(note="loss 1.5")
    assert "training" in out.getvalue()
    assert "100%" in out.getvalue()
    assert "loss 1.5" in out.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_durations_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
