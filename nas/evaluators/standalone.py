"""Training architectures alone, from random weights and all alike: what cheaper judgements of a search are measured by.

A training depends on its conditions and nothing else, and its result is one file named by all of them. Whoever asks
for it again - an audit that goes on, a search's successive halving, a second search on the same data - finds it done. A training
under way has a checkpoint beside that file, so whoever is interrupted loses a minute of it at most.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from nas.execution.jobs import Do, Workers
from nas.execution.loop import Deadline, JobList, run_jobs
from nas.execution.threads import threads
from nas.train.supernet_run import EVALUATION_BATCH, SupernetRun
from space.architecture import Architecture
from space.files import write_atomically
from space.network import build_network
from supernet.accuracy import Score, judge
from supernet.data.batches import Augmentation, Batches, evaluation_batches
from supernet.data.images import ImageSet, Splits
from supernet.randomness import seeded
from supernet.training.checkpoint import CheckpointError
from supernet.training.engine import StepReport, TrainConfig, remove_checkpoint, train

AUGMENTATION = Augmentation()
BATCH_SIZE = 32
"""Of trainings that a search does."""
DECISIVE = (
    "steps", "optimizer", "lr", "weight_decay", "warmup_steps", "clip_grad", "label_smoothing", "mixup", "cutmix", "mix_prob",
    "ema_decay", "precision", "seed",
)  # fmt: skip
"""What of a recipe a result depends on. Named one by one, so that what the training loop learns to do later forgets no results."""
WARMUP = 0.1
"""Share of the steps over which the learning rate rises."""


@dataclass(frozen=True)
class Training:
    """One architecture, trained alone.

    Args:
        steps: updates of the weights; the learning rate has fallen to zero at the last one.
        seed: of the initial weights, the order of images and their augmentation.
        curve: steps after which to score; the last one is scored always.
    """

    architecture: Architecture
    steps: int
    seed: int
    curve: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"training {self.architecture.name} for {self.steps} steps, seed {self.seed}"


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Args:
        score: on the search images, after the last step.
        curve: the same after earlier steps, by step.
        core_seconds: processor time of training and scoring, that of interrupted attempts included as far as they were saved.
    """

    fingerprint: str
    steps: int
    seed: int
    score: Score
    curve: Mapping[int, Score]
    core_seconds: float


_TRAINED = TypeAdapter(Trained)


@dataclass(frozen=True)
class Conditions:
    """What trainings that are compared with each other share.

    Args:
        run: the data, their splits and image size; trained on its training images, scored on its search images.
        batch_size: images a step.
        folder: where results are kept.
        lr: the highest learning rate.
    """

    run: SupernetRun
    batch_size: int
    folder: Path
    lr: float = 1e-3

    def recipe(self, training: Training) -> TrainConfig:
        """AdamW, warm-up and cosine. In fp32 everywhere: which precision is faster must not decide what a training scores."""
        warmup = round(WARMUP * training.steps)
        return TrainConfig(training.steps, lr=self.lr, warmup_steps=warmup, label_smoothing=0.0, precision="fp32", seed=training.seed)

    def file_of(self, training: Training) -> Path:
        """Where the result of a training is kept; another condition is another file."""
        run, fingerprint = self.run, training.architecture.fingerprint
        recipe = self.recipe(training)
        conditions = {name: getattr(recipe, name) for name in DECISIVE} | {
            "batch_size": self.batch_size, "augmentation": asdict(AUGMENTATION), "curve": training.curve,
            "data": run.data, "image_size": run.image_size, "splits": run.seed,
        }  # fmt: skip
        digest = hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()[:8]
        return self.folder / f"{fingerprint}-{training.steps}-{training.seed}-{digest}.json"

    def result_of(self, training: Training) -> Trained | None:
        """The result of a training that is done."""
        with suppress(FileNotFoundError, ValidationError):
            # A damaged one is no result; the training is done again.
            return _TRAINED.validate_json(self.file_of(training).read_bytes())
        return None

    def checkpoint_of(self, training: Training) -> Path:
        """Where the state of a training under way is kept."""
        return self.file_of(training).with_suffix(".safetensors")


@dataclass(frozen=True)
class StandaloneEvaluator:
    """Judges an architecture in a search by a short training; longer ones of the best follow in successive halving.

    Args:
        steps, seed: as of `Training`.
    """

    conditions: Conditions
    steps: int
    seed: int

    def __call__(self, architecture: Architecture) -> Score:
        return train_alone(self.conditions, Training(architecture, self.steps, self.seed)).score


def training_alone(conditions: Conditions) -> Do:
    """What workers do trainings with: `open_workers(partial(training_alone, conditions), ...)`."""
    return partial(train_alone, conditions)


def train_all(
    conditions: Conditions,
    trainings: Sequence[Training],
    workers: Workers,
    on_result: Callable[[Training, Trained], None],
    deadline: Deadline = Deadline(),
) -> JobList[Training, Trained]:
    """Do the trainings, but for those that are done already; `conditions.result_of` then tells what came of each.

    Args:
        workers: that do them with `training_alone`.
        on_result: called after each training, those found done included.
        deadline: after which no training is begun.

    Returns:
        The jobs, which know those that failed.
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
    """Do one training in this process, in one thread, or go on with it, unless it is done already."""
    checkpoint = conditions.checkpoint_of(training)
    result = conditions.result_of(training)
    if result is None:
        conditions.folder.mkdir(parents=True, exist_ok=True)
        with threads(1):
            try:
                result = _train(conditions, training)
            except CheckpointError:
                # Damaged, or taken away by another process that did the same training.
                remove_checkpoint(checkpoint)
                result = _train(conditions, training)
        write_atomically(conditions.file_of(training), json.dumps(asdict(result), indent=1) + "\n")
    remove_checkpoint(checkpoint)
    return result


def _train(conditions: Conditions, training: Training) -> Trained:
    last = time.process_time()
    images, splits, search = _material(conditions.run)
    with seeded("weights", training.seed):
        network = build_network(training.architecture)
    # Travels in the checkpoint.
    carried: dict[str, Any] = {"curve": {}, "core_seconds": 0.0}

    def scored() -> Score:
        device = next(network.parameters()).device
        network.eval()
        try:
            return judge(network, [(images_BCHW.to(device), labels_B.to(device)) for images_BCHW, labels_B in search]).score
        finally:
            network.train()

    def follow(report: StepReport) -> None:
        nonlocal last
        if report.step in training.curve and report.step < training.steps:
            carried["curve"][str(report.step)] = asdict(scored())
        now = time.process_time()
        carried["core_seconds"] += now - last
        last = now

    # Loading in other processes would take the cores of other trainings.
    batches = Batches(images, splits.train, conditions.batch_size, conditions.run.image_size, training.seed, AUGMENTATION, num_workers=0)
    train(
        network,
        lambda _, images_BCHW: network(images_BCHW),
        batches,
        conditions.recipe(training),
        checkpoint=conditions.checkpoint_of(training),
        carried=carried,
        on_step=follow,
    )
    final = scored()
    curve = {int(step): Score(**score) for step, score in carried["curve"].items()}
    core_seconds = carried["core_seconds"] + time.process_time() - last
    return Trained(training.architecture.fingerprint, training.steps, training.seed, final, curve, round(core_seconds, 3))


@lru_cache(maxsize=1)
def _material(run: SupernetRun) -> tuple[ImageSet, Splits, list[tuple[Tensor, Tensor]]]:
    """Images, their splits, and the search images as tensors: read once by a process."""
    images, splits = run.images()
    return images, splits, list(evaluation_batches(images, splits.search, run.image_size, EVALUATION_BATCH))
