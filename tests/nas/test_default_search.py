"""The search that the README begins with, killed twenty times on its way: the same winner, files and scores of successive halving."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.runs.directory import name_of_run
from nas.runs.storage_url import journal_url
from nas.search import __main__ as search
from nas.study.record import StudyError, open_study
from nas.train.supernet_run import WEIGHTS
from space.files import load_architecture
from tests.killing import running
from tests.nas.small_search import rows_of

TRAINING, EVALUATING, IN_HALVING = 1, 14, 5
"""Kills: while the supernet trains, while architectures are evaluated, and between the last of these and the end.

One in training: it is waited for a checkpoint, and a training that continues may end before its next one.
"""
TRIALS, TRAININGS = 60, 6
"""Those of the search, and so many trainings at the least of its successive halving."""
LIMIT_SECONDS = 3600.0
COMMAND = ["--budget", "4.5GFLOPs"]


def made(run: Path) -> dict[str, object]:
    """What the search made; numbers of trials, among which are interrupted ones, and seconds left out."""
    halving = json.loads((run / "halving.json").read_text())
    files = {path.name: load_architecture(path).fingerprint for path in sorted(run.glob("*.yaml"))}
    return {
        "files": files,
        "trials": rows_of(run / "trials.csv"),
        "halving": [(one["fingerprint"], one["competes"], one["rungs"]) for one in halving["candidates"]],
        "steps": halving["steps"],
        "weights": (run / "best.safetensors").read_bytes(),
        "supernet": (run / WEIGHTS).stat().st_size,
    }


def num_trials(run: Path) -> int:
    try:
        return open_study(journal_url(run), name_of_run(run)).num_results
    except StudyError:
        return 0


def num_trainings(run: Path) -> int:
    return len(list((run / "standalone").glob("*.json")))


def num_checkpoints(run: Path) -> float:
    """Grows with each checkpoint of the supernet."""
    file = run / "supernet.checkpoint.safetensors"
    return file.stat().st_mtime if file.exists() else 0.0


def moments(rng: random.Random) -> list[tuple[Callable[[Path], float], float]]:
    """When to kill: as soon as a count has reached a number."""
    trials = sorted(rng.sample(range(1, TRIALS), EVALUATING))
    trainings = sorted(rng.sample(range(TRAININGS), IN_HALVING))
    return [
        *((num_checkpoints, 0.0) for _ in range(TRAINING)),
        *((num_trials, number) for number in trials), *((num_trainings, number) for number in trainings),
    ]  # fmt: skip


@pytest.mark.soak
@pytest.mark.timeout(2 * LIMIT_SECONDS)
def test_the_default_search_killed_twenty_times_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole" / "run", tmp_path / "killed" / "run"
    with running(search.main, [*COMMAND, "--out", str(whole)]) as (process, output):
        process.join(LIMIT_SECONDS)
        assert process.exitcode == 0, output.read_text()
    rng, late = random.Random(0), 0
    for number, (count, enough) in enumerate(moments(rng)):
        with running(search.main, [*COMMAND, "--out", str(killed)]) as (process, output):
            began = time.time()
            # Of a supernet's training a new checkpoint is waited for; the rest is counted.
            while process.is_alive() and count(killed) < (began if count is num_checkpoints else enough):
                time.sleep(0.5)
            time.sleep(rng.uniform(0, 3))
            assert process.is_alive(), f"it ended before kill {number + 1}:\n{output.read_text()}"
            process.kill()
            process.join()
            late += num_trials(killed) == TRIALS
    with running(search.main, [*COMMAND, "--out", str(killed)]) as (process, output):
        process.join(LIMIT_SECONDS)
        assert process.exitcode == 0, output.read_text()
    assert late >= IN_HALVING
    assert made(killed) == made(whole)
