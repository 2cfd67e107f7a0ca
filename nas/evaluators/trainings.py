"""An architecture trained alone: the training, its result, and the conditions that compared trainings share.

A training depends on its conditions alone, and its result is one file named by all of them. Whoever needs the same training again - a
resumed audit, a search's successive halving, a second search on the same data - finds the result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from nas.train.supernet_run import SupernetRun
from space.architecture import Architecture
from supernet.score import Score
from supernet.training.config import Precision, TrainConfig, precision_of
from supernet.training.distributed import own_device

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
        fingerprint, steps, seed: of the architecture and of its training.
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
