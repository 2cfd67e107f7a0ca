"""The dry run of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nas.cli.plan import Phase, Plan, memory_now
from nas.cli.workload import slower_by, workload_of
from nas.compare.comparison import Contender
from nas.compare.config import CompareConfig
from nas.compare.searches import FurtherSearch, space_of
from nas.compare.subject import Subject
from nas.retrain.plan import SMALL_FILES, images_at_a_time, validating_seconds
from nas.retrain.retraining import Retraining
from nas.search.plan import plan_search
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import without_latency

COPIES_OF_WEIGHTS = 2
"""The result and the best epoch's."""


def plan_comparison(
    config: CompareConfig, subject: Subject, searches: Sequence[FurtherSearch], retrainings: Sequence[tuple[Contender, Retraining]]
) -> Plan:
    """The plan of `nas.compare`.

    Args:
        searches: further ones, done or not.
        retrainings: all of known networks, every contender with every seed.
    """
    plan = _retraining_plan(config, subject, sum(not one.is_done for one in searches), retrainings)
    for one in reversed(searches):
        if not one.is_done:
            plan = _with_search(plan, one, subject)
    return plan


def _with_search(plan: Plan, search: FurtherSearch, subject: Subject) -> Plan:
    """A plan with a search before all else."""
    assert subject.supernet_run is not None
    band = ArchitectureBand(space_of(search, subject), without_latency(subject.budget))
    # A supernet of its own is not trained yet.
    run = subject.supernet_run if search.config.supernet else replace(subject.supernet_run, folder=search.config.out)
    first = plan_search(search.config, band, list(subject.budget.targets.values()), run)
    phases = tuple(replace(phase, name=f"{search.label}: {phase.name}") for phase in first.phases)
    files = {f"{search.config.out}/": sum(first.files.values())}
    passing = max(first.passing, plan.passing)
    return Plan(phases + plan.phases, {**first.memory, **plan.memory}, {**files, **plan.files}, passing, plan.note)


def _retraining_plan(
    config: CompareConfig, subject: Subject, num_unknown: int, retrainings: Sequence[tuple[Contender, Retraining]]
) -> Plan:
    """The plan without searches.

    Args:
        num_unknown: networks that searches have yet to find, which cost about as much as the subject.
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
    own = next(one for contender, one in retrainings if contender.architecture == subject.contender.architecture)
    of_own = workloads[own.architecture.fingerprint].training_seconds(own.train_config.steps, own.recipe.batch_size)
    num_left = len(left) + num_unknown * config.seeds
    seconds += num_unknown * config.seeds * of_own
    networks = ", ".join(dict.fromkeys(contender.label for contender, _ in retrainings))
    networks += f" and {num_unknown} that searches find" if num_unknown else ""
    total = len(retrainings) + num_unknown * config.seeds
    what = f"{num_left} of {total} retrainings, {config.resources.num_workers} at a time: {networks}"
    largest = max(workloads.values(), key=lambda workload: workload.training_bytes(1))
    weights = sum(COPIES_OF_WEIGHTS * workloads[contender.architecture.fingerprint].weights_bytes for contender, _ in retrainings)
    files = {
        f"{config.out}/, a folder a retraining": weights + len(retrainings) * SMALL_FILES,
        f"{config.out}/comparison.md, comparison.csv and comparison.json": SMALL_FILES,
    }
    memory = {"for each worker": memory_now() + largest.training_bytes(images_at_a_time(retrainings[0][1]))}
    training = Phase("retraining", what, slower_by(config.resources.num_workers) * seconds if num_left else None)
    return Plan((training,), memory, files, config.resources.num_workers * largest.checkpoint_bytes)
