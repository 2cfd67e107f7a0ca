"""What a comparison and its searches cost, from the records that they left."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.compare.comparison import Contender, EqualConditions
from nas.retrain.retrained import Retrained
from nas.runs.directory import config_of_run, name_of_run, storage_of_run
from nas.search.config import STANDALONE
from nas.study.record import open_study
from nas.train.supernet_run import SupernetRun
from supernet.training.checkpoint import load_checkpoint


def seconds_spent(
    searches: Mapping[Path, SupernetRun], conditions: EqualConditions, contenders: Sequence[Contender], seeds: int
) -> dict[str, float]:
    """Seconds by what they were spent on: of a supernet's training on all cores or a GPU, of the rest on one core each or a share of a GPU.

    Args:
        searches: their directories, and the supernets that judged; one that several searched is counted once.
    """
    supernets = {run.folder: run for run in searches.values() if run.weights_file.exists()}
    seconds = {
        "training supernets": sum(float(load_checkpoint(run.weights_file)[1]["seconds"]) for run in supernets.values()),
        "trials": sum(_of_trials(run) for run in searches),
        "final trainings": sum(_of_final_trainings(run) for run in searches),
        "retraining": sum(float(one.facts["seconds"]) for one in _retrained(conditions, contenders, seeds)),
    }
    return {name: round(value, 1) for name, value in seconds.items() if value}


def devices_of(conditions: EqualConditions, contenders: Sequence[Contender], seeds: int) -> list[str]:
    """The devices of all retrainings, with their precision."""
    found = (one.facts for one in _retrained(conditions, contenders, seeds))
    return sorted({f"{facts['device']} in {facts['precision']}" for facts in found})


def _retrained(conditions: EqualConditions, contenders: Sequence[Contender], seeds: int) -> list[Retrained]:
    read = (Retrained.read(conditions.retraining(one, seed).out, one.architecture) for one in contenders for seed in range(seeds))
    return [one for one in read if one is not None]


def _of_trials(run: Path) -> float:
    return sum(result.seconds for result in open_study(storage_of_run(run), name_of_run(run)).results())


def _of_final_trainings(run: Path) -> float:
    config = config_of_run(run)
    trainings = [json.loads(file.read_text()) for file in sorted((run / STANDALONE).glob("*.json"))]
    # Those of trials are counted there.
    of_trials = config["standalone_steps"] if config["evaluator"] == STANDALONE else None
    return sum(float(one["core_seconds"]) for one in trainings if one["steps"] != of_trials)
