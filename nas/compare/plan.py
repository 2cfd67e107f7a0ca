"""The dry run of a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from nas.cli.plan import Phase, Plan, memory_now
from nas.cli.workload import slower_by, workload_of
from nas.compare.comparison import Contender
from nas.compare.config import CompareConfig
from nas.retrain.plan import SMALL_FILES, images_at_a_time, validating_seconds
from nas.retrain.retraining import Retraining

COPIES_OF_WEIGHTS = 2
"""The result and the best epoch's."""


def plan_comparison(config: CompareConfig, retrainings: Sequence[tuple[Contender, Retraining]]) -> Plan:
    """The plan of `nas.compare`.

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
        seconds += workload.training_seconds(steps, one.recipe.batch_size) + validating_seconds(one, workload)
        seconds += workload.passing_seconds(images)
    networks = ", ".join(dict.fromkeys(contender.label for contender, _ in retrainings))
    what = f"{len(left)} of {len(retrainings)} retrainings, {config.resources.num_workers} at a time: {networks}"
    largest = max(workloads.values(), key=lambda workload: workload.training_bytes(1))
    weights = sum(COPIES_OF_WEIGHTS * workloads[contender.architecture.fingerprint].weights_bytes for contender, _ in retrainings)
    files = {
        f"{config.out}/, a folder a retraining": weights + len(retrainings) * SMALL_FILES,
        f"{config.out}/comparison.md, comparison.csv and comparison.json": SMALL_FILES,
    }
    memory = {"for each worker": memory_now() + largest.training_bytes(images_at_a_time(retrainings[0][1]))}
    training = Phase("retraining", what, slower_by(config.resources.num_workers) * seconds if left else None)
    return Plan((training,), memory, files, config.resources.num_workers * largest.checkpoint_bytes)
