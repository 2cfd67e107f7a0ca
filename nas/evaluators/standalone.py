"""Training architectures alone, from random weights and all alike: the reference that cheaper scores of a search are compared with.

An unfinished training has a checkpoint beside the file of its result, so an interruption costs a minute of it at most.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import Any

from torch import Tensor

from nas.evaluators.int8 import int8_scores
from nas.evaluators.trainings import Conditions, Trained, Training
from nas.execution.jobs import JobFunction, Workers
from nas.execution.loop import Deadline, JobList, run_jobs
from nas.execution.resources import threads
from nas.train.supernet_run import SupernetRun
from space.architecture import Architecture
from space.files import write_atomically
from space.network import build_network
from supernet.data.images import ImageSet, open_test_images
from supernet.data.splits import Splits
from supernet.evaluation import judge
from supernet.graph_replay import replayed
from supernet.score import Score
from supernet.seeding import seeded
from supernet.training.checkpoint import CheckpointError
from supernet.training.checkpointer import remove_checkpoint
from supernet.training.compilation import compiled
from supernet.training.config import autocast
from supernet.training.distributed import own_device
from supernet.training.loop import train_network
from supernet.training.step import StepReport


@dataclass(frozen=True)
class StandaloneEvaluator:
    """Scores an architecture by a short training; longer ones of the best follow in successive halving.

    Args:
        steps, seed: as of `Training`.
    """

    conditions: Conditions
    steps: int
    seed: int

    def __call__(self, architecture: Architecture) -> Score:
        return train_alone(self.conditions, Training(architecture, self.steps, self.seed)).score


def training_alone(conditions: Conditions) -> JobFunction:
    """The function that workers run: `open_workers(partial(training_alone, conditions), ...)`."""
    return partial(train_alone, conditions)


def train_all(
    conditions: Conditions,
    trainings: Sequence[Training],
    workers: Workers,
    on_result: Callable[[Training, Trained, bool], None],
    deadline: Deadline = Deadline(),
) -> JobList[Training, Trained]:
    """Do the trainings that are not done already; `conditions.result_of` then returns each result.

    Args:
        workers: opened with `training_alone`.
        on_result: called after each training, and for those that were done already, which the last argument says.
        deadline: no training is begun after it.

    Returns:
        The jobs, which list those that failed.
    """
    left = []
    for training in trainings:
        if (result := conditions.result_of(training)) is None:
            left.append(training)
        else:
            remove_checkpoint(conditions.checkpoint_of(training))
            on_result(training, result, True)
    jobs = JobList[Training, Trained](left, str, lambda training, result: on_result(training, result, False))
    run_jobs(jobs, workers, deadline)
    return jobs


def train_alone(conditions: Conditions, training: Training) -> Trained:
    """Do or resume one training in this process, in one thread, unless it is done already."""
    checkpoint = conditions.checkpoint_of(training)
    result = conditions.result_of(training)
    if result is None:
        conditions.folder.mkdir(parents=True, exist_ok=True)
        with threads(1):
            try:
                result = _train(conditions, training)
            except CheckpointError:
                # Damaged, or removed by another process that did the same training.
                remove_checkpoint(checkpoint)
                result = _train(conditions, training)
        write_atomically(conditions.file_of(training), json.dumps(asdict(result), indent=1) + "\n")
    remove_checkpoint(checkpoint)
    return result


def _train(conditions: Conditions, training: Training) -> Trained:
    last = time.process_time()
    images, splits, search = _load(conditions.run)
    task = conditions.run.task
    with seeded("weights", training.seed):
        network = build_network(training.architecture)
    # Checkpoints hold it.
    extra: dict[str, Any] = {"curve": {}, "core_seconds": 0.0}

    def score(batches: Iterable[tuple[Tensor, Tensor]], num_images: int) -> Score:
        network.eval()
        forward = replayed(network, num_images // task.evaluation_batch, own_device(), conditions.may_compile)
        with autocast(own_device(), conditions.precision):
            found = judge(forward, batches, task).score
        network.train()
        return found

    def follow(report: StepReport) -> None:
        nonlocal last
        if report.step in training.curve and report.step < training.steps:
            extra["curve"][str(report.step)] = asdict(score(search, len(splits.search)))
        now = time.process_time()
        extra["core_seconds"] += now - last
        last = now

    # Processes that load images would take the cores of other trainings.
    batches = task.training_batches(
        images, splits.train, conditions.batch_size, conditions.run.image_size, training.seed, num_workers=0
    )
    with compiled(network, training.steps, may_compile=conditions.may_compile) as run:
        train_network(
            network,
            lambda _, images_BCHW: run(images_BCHW),
            batches,
            conditions.recipe(training),
            checkpoint=conditions.checkpoint_of(training),
            extra=extra,
            on_step=follow,
            is_read_at=training.curve.__contains__,
        )
    final, test = score(search, len(splits.search)), None
    if training.tests and (tested := _test_images(conditions.run)) is not None:
        batches_of_test = task.evaluation_batches(tested, range(len(tested)), conditions.run.image_size, device=own_device())
        test = score(batches_of_test, len(tested))
    curve = {int(step): Score.parsed(fields) for step, fields in extra["curve"].items()}
    core_seconds = extra["core_seconds"] + time.process_time() - last
    int8 = int8_scores(network, conditions.run) if conditions.int8 else None
    fingerprint, seconds = training.architecture.fingerprint, round(core_seconds, 3)
    return Trained(fingerprint, training.steps, training.seed, final, curve, seconds, test, int8)


@lru_cache(maxsize=1)
def _load(run: SupernetRun) -> tuple[ImageSet, Splits, list[tuple[Tensor, Tensor]]]:
    """Images, their splits, and the search images as tensors, once per process."""
    images, splits = run.images()
    return images, splits, run.search_batches()


@lru_cache(maxsize=1)
def _test_images(run: SupernetRun) -> ImageSet | None:
    """The test part of the data, once per process; None where there is none."""
    images, _ = run.images()
    return open_test_images(images, None, images.class_names)
