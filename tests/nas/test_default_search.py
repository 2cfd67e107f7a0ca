"""The search that the README begins with, killed twenty times on its way: the same winner, files and finals."""

from __future__ import annotations

import json
import random
import time
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

KILLS = 20
LEAST_AFTER_THE_LAST_TRIAL = 5
LIMIT_SECONDS = 3600.0
COMMAND = ["--budget", "4.5GFLOPs"]


def made(run: Path) -> dict[str, object]:
    """What the search made; numbers of trials, among which are interrupted ones, and seconds left out."""
    finals = json.loads((run / "finals.json").read_text())
    files = {path.name: load_architecture(path).fingerprint for path in sorted(run.glob("*.yaml"))}
    return {
        "files": files,
        "trials": rows_of(run / "trials.csv"),
        "finals": [(one["fingerprint"], one["competes"], one["rounds"]) for one in finals["finalists"]],
        "steps": finals["steps"],
        "weights": (run / "best.safetensors").read_bytes(),
        "supernet": (run / WEIGHTS).stat().st_size,
    }


def num_trials(run: Path) -> int:
    try:
        return open_study(journal_url(run), name_of_run(run)).num_results
    except StudyError:
        return 0


@pytest.mark.soak
@pytest.mark.timeout(2 * LIMIT_SECONDS)
def test_the_default_search_killed_twenty_times_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole" / "run", tmp_path / "killed" / "run"
    with running(search.main, [*COMMAND, "--out", str(whole)]) as (process, output):
        process.join(LIMIT_SECONDS)
        assert process.exitcode == 0, output.read_text()
    rng, kills, late = random.Random(0), 0, 0
    for _ in range(KILLS + 1):
        with running(search.main, [*COMMAND, "--out", str(killed)]) as (process, output):
            if kills < KILLS:
                # A supernet's training goes on from a checkpoint, which is a minute old at most.
                time.sleep(rng.uniform(7, 13) if (killed / WEIGHTS).exists() else rng.uniform(70, 100))
                if process.is_alive():
                    kills += 1
                    process.kill()
                    process.join()
                    late += num_trials(killed) == 120
                    continue
            process.join(LIMIT_SECONDS)
            assert process.exitcode == 0, output.read_text()
            break
    assert kills == KILLS, f"it ended after {kills} kills"
    assert late >= LEAST_AFTER_THE_LAST_TRIAL
    assert made(killed) == made(whole)
