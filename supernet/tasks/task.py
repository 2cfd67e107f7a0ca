"""What a task is: its targets, its loss, its scores, and how its images become batches. The registry of tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from space.architecture import Architecture
from space.errors import UserError
from space.kinds import HEADS
from space.search_space import SearchSpace
from space.taps import task_of
from supernet.data.batches import TrainingBatches
from supernet.data.image_set import ImageSet
from supernet.data.loading import CPU
from supernet.data.preprocessing import Preprocessing
from supernet.score import Figure, Score

Indices = Sequence[int] | np.ndarray


class TaskError(UserError):
    """An unknown task, or something that does not fit one."""


class Task(ABC):
    """What networks are trained and judged for. Targets are tensors (B, ...), one of every image.

    Attributes:
        name: as `--task` takes it, and as heads and image sets have it.
        metrics: what the figures are called, the headline figure first; all are shares of 1, shown in per cent.
        published: what papers report of networks for the task, in words.
        unit: what log-likelihoods are means over: `image` or `pixel`.
        augmentation: random changes of training images, a frozen dataclass; these are mild, for searches.
        recipe: for retraining, the default one of `nas.retrain`.
        per_image: whether the answer is one of the whole image; then images may be mixed in pairs, and timm's classifiers may teach.
        max_search_images, max_calibration_images: of a supernet's run, at most.
        evaluation_batch, calibration_batch: images that a network sees together where it is judged, or its statistics are estimated.
    """

    name: str
    metrics: tuple[str, ...]
    published: str
    unit: str
    augmentation: Any
    recipe: str
    per_image: bool
    max_search_images: int
    max_calibration_images: int
    evaluation_batch: int
    calibration_batch: int

    @property
    def metric(self) -> str:
        """What the headline figure is called."""
        return self.metrics[0]

    @abstractmethod
    def loss(self, logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """The mean loss of a batch, a scalar.

        Args:
            logits: (B, classes, ...) float32.
            label_smoothing: share of the target that is spread over all classes.
        """

    @abstractmethod
    def judge(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Log-likelihoods (B,) and counts (B, ...) of every image; reads nothing back from the device."""

    @abstractmethod
    def figures(self, counts: Tensor) -> tuple[Figure, ...]:
        """The figures of some images from their counts (N, ...), the headline figure first, with standard errors over images."""

    @abstractmethod
    def example(self) -> ImageSet:
        """A small embedded set of images with such targets."""

    def by_class(self, counts: Tensor) -> Sequence[float]:
        """The headline figure of every class, not a number for classes that do not occur; empty where classes have none."""
        return ()

    def pictures(self, images_BCHW: Tensor, targets: Tensor, logits: Tensor) -> Sequence[np.ndarray]:
        """Every image beside its target and what the logits say, (H, W, 3) uint8; empty where that is no picture."""
        return ()

    def colours(self, num_classes: int) -> Sequence[str]:
        """The colours of classes in `pictures`, as `#rrggbb`."""
        return ()

    @abstractmethod
    def training_batches(
        self, images: ImageSet, indices: np.ndarray, batch_size: int, image_size: int, seed: int,
        augmentation: Any = None, num_workers: int | None = None,
    ) -> TrainingBatches:  # fmt: skip
        """Training batches of images and targets, square and of a side in pixels; arguments as of `TrainingBatches`.

        Args:
            augmentation: the task's own by default.
        """

    @abstractmethod
    def evaluation_batches(
        self, images: ImageSet, indices: Indices, image_size: int, batch_size: int | None = None, device: torch.device = CPU
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (B, 3, H, W) and their targets without augmentation; unreadable images are left out.

        Args:
            image_size: in pixels; see the task.
            batch_size: at most; `evaluation_batch` by default.
        """

    @abstractmethod
    def fixed_batch(self, images: ImageSet, indices: Indices, image_size: int) -> tuple[Tensor, Tensor]:
        """Square images (B, 3, S, S) and their targets in one batch, the same ones each time, without augmentation."""

    @abstractmethod
    def preprocessing(self, image_size: int) -> Preprocessing:
        """How `evaluation_batches` prepares an image."""


TASKS: dict[str, Task] = {}
"""All tasks by name. To import this module imports the whole package, which registers them."""


def register_task(task: Task) -> Task:
    """Make a task known under its name; TaskError where another one has it."""
    if task.name in TASKS:
        raise TaskError(f"task: {task.name!r} is registered already")
    TASKS[task.name] = task
    return task


def task_named(name: str) -> Task:
    """The task of this name; TaskError lists the names there are."""
    if name not in TASKS:
        raise TaskError(f"task: got {name!r:.60}, expected one of {', '.join(TASKS)}")
    return TASKS[name]


def task_of_head(owner: SearchSpace | Architecture) -> Task:
    """The task that the head of a space or of an architecture is for."""
    return task_named(owner.task)


def check_head(what: str, owner: SearchSpace | Architecture, images: ImageSet) -> None:
    """TaskError where the head of a space or of an architecture is for another task than the targets of images.

    Args:
        what: is checked, in a word.
    """
    if owner.task != images.task:
        fitting = [name for name in HEADS.names() if task_of(HEADS(name)) == images.task]
        got = f"got {owner.name}, whose head is for {owner.task}, with images for {images.task}"
        raise TaskError(f"{what}: {got}, expected one with the head {' or '.join(fitting)}")


def score_facts() -> frozenset[str]:
    """The names that facts of scores have, whatever the task, as in the provenance of a search's architectures."""
    empty = [Score(0, 0, 0, 0, 0, task.metric, tuple(Figure(name, 0, 0) for name in task.metrics[1:])) for task in TASKS.values()]
    return frozenset(name for score in empty for name in score.facts)


def task_of_images(images: ImageSet) -> Task:
    """The task that the targets of an image set are for."""
    return task_named(images.task)
