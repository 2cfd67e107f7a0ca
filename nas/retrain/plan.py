"""What a retraining would take."""

from __future__ import annotations

from nas.cli.plan import Phase, Plan, memory_now
from nas.cli.trackers.scalars import expected_files
from nas.cli.workload import Workload, workload_of
from nas.retrain.retrained import BEST, RESULT
from nas.retrain.retraining import Retraining
from nas.runs.records.retraining import WEIGHTS
from supernet.training.distributed import num_processes

SMALL_FILES = 2e4
"""Bytes of config, architecture, metrics and results."""


def plan_retraining(retraining: Retraining, minutes: float | None) -> Plan:
    """The phases, memory and files of `nas.retrain`."""
    workload = workload_of([retraining.architecture], retraining.image_size)
    recipe, out, part = retraining.recipe, retraining.out, images_at_a_time(retraining)
    steps = retraining.train_config.steps
    what = f"{recipe.length}, {steps} steps of {recipe.batch_size} images, at {retraining.image_size} px"
    test = len(retraining.test_images or ())
    files = {f"{out}/{name}": workload.weights_bytes for name in (WEIGHTS, BEST)}
    files |= {f"{out}/{name}": size for name, size in expected_files(retraining.tracker, steps).items()}
    files[f"{out}/{RESULT}, metrics.csv and so on"] = SMALL_FILES
    phases = (
        Phase("training", what, workload.training_seconds(steps, recipe.batch_size) / num_processes()),
        Phase("validation", f"{len(retraining.splits.search)} images after each epoch", validating_seconds(retraining, workload)),
        Phase("testing", f"{test} images", workload.passing_seconds(test)),
    )
    memory = {"in training": memory_now() + workload.training_bytes(part)}
    return Plan(phases, memory, files, workload.checkpoint_bytes, "" if minutes is None else f"; --minutes ends it after {minutes:g}")


def validating_seconds(retraining: Retraining, workload: Workload) -> float:
    """Seconds of the validations after each epoch and at the end."""
    times = retraining.train_config.steps // retraining.batches.steps_per_epoch + 1
    return workload.passing_seconds(times * len(retraining.splits.search)) / num_processes()


def images_at_a_time(retraining: Retraining) -> int:
    """Images of the part of a batch that is in memory."""
    recipe = retraining.recipe
    return -(-recipe.batch_size // (recipe.accumulate * num_processes()))
