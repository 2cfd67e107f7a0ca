"""Zero-cost scores of untrained networks on one batch of images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from proxies.zero_cost.registry import ScoreError, ZeroCostScore
from space.architecture import Architecture
from space.network import build_network
from supernet.data.images import ImageSet
from supernet.seeding import seed_of, seeded
from supernet.tasks.task import Task, task_of_images


@dataclass(frozen=True)
class ScoredArchitecture:
    """An architecture's zero-cost scores, and the seconds that each took."""

    name: str
    values: tuple[float, ...]
    seconds: tuple[float, ...]


def score(
    architecture: Architecture, scores: Sequence[ZeroCostScore], images_BCHW: Tensor, targets: Tensor, task: Task, seed: int,
    failures: dict[str, str] | None = None, on_score: Callable[[], object] = lambda: None,
) -> ScoredArchitecture:
    """Build an architecture's network and score it; the weights depend on the seed alone.

    Args:
        failures: where the reasons of scores that fail are put by name, whose values are then not numbers; by default they are raised.
        on_score: called after each.
    """
    with seeded("weights", seed):
        network = build_network(architecture)
    values, seconds = [], []
    for one in scores:
        start = time.perf_counter()
        try:
            values.append(one(network, images_BCHW, targets, partial(task.loss, label_smoothing=0.0)))
        except ScoreError as error:
            if failures is None:
                raise
            failures[one.name] = str(error)
            values.append(math.nan)
        seconds.append(time.perf_counter() - start)
        on_score()
    return ScoredArchitecture(architecture.name, tuple(values), tuple(seconds))


def training_batch(images: ImageSet, train: np.ndarray, count: int, side: int, seed: int) -> tuple[Tensor, Tensor]:
    """Some training images (B, C, H, W) and their targets (B, ...), drawn by the seed, without augmentation.

    Args:
        train: indices of the training images.
        side: in pixels.
    """
    rng = np.random.default_rng(seed_of("scores", seed))
    return task_of_images(images).fixed_batch(images, rng.choice(train, count, replace=False), side)
