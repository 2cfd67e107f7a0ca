"""Training architectures alone, from random weights and all alike: the reference that cheaper scores of a search are compared with.

A training depends on its conditions alone, and its result is one file named by all of them. Whoever needs the same training again - a
resumed audit, a search's successive halving, a second search on the same data - finds the result. An unfinished training has a
checkpoint beside that file, so an interruption costs a minute of it at most.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from nas.evaluators.int8 import int8_scores
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
from supernet.training.config import Precision, TrainConfig, autocast, precision_of
from supernet.training.distributed import own_device
from supernet.training.loop import train_network
from supernet.training.step import StepReport

BATCH_SIZE = 32
"""Batch size of the trainings of a search."""
DECISIVE = (
    "steps", "optimizer", "lr", "weight_decay", "warmup_steps", "clip_grad", "label_smoothing", "mixup", "cutmix", "mix_prob",
    "ema_decay", "precision", "seed",
)  # fmt: skip
"""Fields of `TrainConfig` that a result depends on; listed, so that a new field of the training loop does not invalidate results."""
WARMUP = 0.1
"""Share of the steps over which the learning rate rises."""


@dataclass(frozen=True)
class Training:
    """One architecture, trained alone.

    Args:
        steps: updates of the weights; the learning rate has fallen to zero at the last one.
        seed: of the initial weights, the order of images and their augmentation.
        curve: steps after which to score; the last one is scored always.
        tests: whether the trained network is also judged on the test part of the data.
    """

    architecture: Architecture
    steps: int
    seed: int
    curve: tuple[int, ...] = ()
    tests: bool = False

    def __str__(self) -> str:
        return f"training {self.architecture.name} for {self.steps} steps, seed {self.seed}"


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Args:
        score: on the search images, after the last step.
        curve: the same after earlier steps, by step.
        core_seconds: processor time of training and scoring, that of interrupted attempts included up to their checkpoints.
        test: the score on the test images, where these were asked for and there are some.
        int8: scores in floating point and in INT8, on the same images; None where the conditions ask for none.
    """

    fingerprint: str
    steps: int
    seed: int
    score: Score
    curve: Mapping[int, Score]
    core_seconds: float
    test: Score | None = None
    int8: tuple[Score, Score] | None = None


_TRAINED = TypeAdapter(Trained)


@dataclass(frozen=True)
class Conditions:
    """What is the same for all trainings that are compared.

    Args:
        run: the data, their splits and image size; trained on its training images, scored on its search images.
        batch_size: images a step.
        folder: where results are kept.
        lr: the highest learning rate.
        precision: of training and scoring. The process that makes the conditions decides, not the device of each worker, so that all
            trainings are comparable and all processes agree on the files of the results.
        int8: whether networks are scored in INT8 as well.
        may_compile: whether long trainings are compiled; results agree to rounding.
    """

    run: SupernetRun
    batch_size: int
    folder: Path
    lr: float = 1e-3
    precision: Precision = field(default_factory=lambda: precision_of(own_device()))
    int8: bool = False
    may_compile: bool = True

    def recipe(self, training: Training) -> TrainConfig:
        """AdamW, warm-up and cosine."""
        return TrainConfig(
            training.steps,
            lr=self.lr,
            warmup_steps=round(WARMUP * training.steps),
            label_smoothing=0.0,
            precision=self.precision,
            seed=training.seed,
        )

    def file_of(self, training: Training) -> Path:
        """The file of a training's result; its name depends on all conditions."""
        run, fingerprint = self.run, training.architecture.fingerprint
        recipe = self.recipe(training)
        conditions = {name: getattr(recipe, name) for name in DECISIVE} | {
            "batch_size": self.batch_size, "augmentation": asdict(run.task.augmentation), "curve": training.curve,
            "data": run.data, "image_size": run.image_size, "splits": run.seed, **run.targets.of_masks,
        } | ({"int8": True} if self.int8 else {}) | ({"tests": True} if training.tests else {})  # fmt: skip
        digest = hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()[:8]
        return self.folder / f"{fingerprint}-{training.steps}-{training.seed}-{digest}.json"

    def result_of(self, training: Training) -> Trained | None:
        """The result of a finished training; none where there is none or it is damaged."""
        with suppress(FileNotFoundError, ValidationError):
            return _TRAINED.validate_json(self.file_of(training).read_bytes())
        return None

    def checkpoint_of(self, training: Training) -> Path:
        """The checkpoint of an unfinished training."""
        return self.file_of(training).with_suffix(".safetensors")


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
    on_result: Callable[[Training, Trained], None],
    deadline: Deadline = Deadline(),
) -> JobList[Training, Trained]:
    """Do the trainings that are not done already; `conditions.result_of` then returns each result.

    Args:
        workers: opened with `training_alone`.
        on_result: called after each training, also for those that were done already.
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
            on_result(training, result)
    jobs = JobList(left, str, on_result)
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
