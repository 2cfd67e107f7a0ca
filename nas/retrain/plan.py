"""What retrainings would do, one alone or many that are compared."""

from __future__ import annotations

from collections.abc import Sequence

from nas.cli.plan import Phase, Plan, memory_now
from nas.cli.tensorboard import FOLDER, num_bytes
from nas.cli.workload import Workload, slower_by, workload_of
from nas.compare.comparison import Contender
from nas.compare.config import CompareConfig
from nas.retrain.retraining import BEST, WEIGHTS, Retraining
from supernet.training.distributed import num_processes

SMALL_FILES = 2e4
"""Bytes of config, architecture, metrics and results."""
COPIES_OF_WEIGHTS = 2
"""The result and the best epoch's."""


def plan_retraining(retraining: Retraining, minutes: float | None) -> Plan:
    """What `nas.retrain` would do."""
    workload = workload_of([retraining.architecture], retraining.image_size)
    recipe, out, part = retraining.recipe, retraining.out, _images_at_a_time(retraining)
    steps = retraining.train_config.steps
    what = f"{recipe.epochs} epochs, {steps} steps of {recipe.batch_size} images, at {retraining.image_size} px"
    test = len(retraining.test_images or ())
    files = {f"{out}/{name}": workload.weights_bytes for name in (WEIGHTS, BEST)}
    files |= {f"{out}/{FOLDER}/": num_bytes(steps), f"{out}/result.json, metrics.csv and so on": SMALL_FILES}
    phases = (
        Phase("training", what, workload.training_seconds(steps, recipe.batch_size) / num_processes()),
        Phase("validation", f"{len(retraining.splits.search)} images after each epoch", _validating_seconds(retraining, workload)),
        Phase("testing", f"{test} images", workload.passing_seconds(test)),
    )
    memory = {"in training": memory_now() + workload.training_bytes(part)}
    return Plan(phases, memory, files, workload.checkpoint_bytes, "" if minutes is None else f"; --minutes ends it after {minutes:g}")


def plan_comparison(config: CompareConfig, retrainings: Sequence[tuple[Contender, Retraining]]) -> Plan:
    """What `nas.compare` would do.

    Args:
        retrainings: all of them, every contender with every seed.
    """
    left = [(contender, one) for contender, one in retrainings if not one.is_done]
    workloads = {
        contender.architecture.fingerprint: workload_of([contender.architecture], one.image_size) for contender, one in retrainings
    }
    seconds = 0.0
    for contender, one in left:
        workload, steps = workloads[contender.architecture.fingerprint], one.train_config.steps
        images = len(one.test_images or ())
        seconds += workload.training_seconds(steps, one.recipe.batch_size) + _validating_seconds(one, workload)
        seconds += workload.passing_seconds(images)
    networks = ", ".join(dict.fromkeys(contender.label for contender, _ in retrainings))
    what = f"{len(left)} of {len(retrainings)} retrainings, {config.workers} at a time: {networks}"
    largest = max(workloads.values(), key=lambda workload: workload.training_bytes(1))
    weights = sum(COPIES_OF_WEIGHTS * workloads[contender.architecture.fingerprint].weights_bytes for contender, _ in retrainings)
    files = {
        f"{config.out}/, a folder a retraining": weights + len(retrainings) * SMALL_FILES,
        f"{config.out}/comparison.md and comparison.csv": SMALL_FILES,
    }
    memory = {"for each worker": memory_now() + largest.training_bytes(_images_at_a_time(retrainings[0][1]))}
    training = Phase("retraining", what, slower_by(config.workers) * seconds if left else None)
    return Plan((training,), memory, files, config.workers * largest.checkpoint_bytes)


def _validating_seconds(retraining: Retraining, workload: Workload) -> float:
    return workload.passing_seconds((retraining.recipe.epochs + 1) * len(retraining.splits.search)) / num_processes()


def _images_at_a_time(retraining: Retraining) -> int:
    recipe = retraining.recipe
    return -(-recipe.batch_size // (recipe.accumulate * num_processes()))
