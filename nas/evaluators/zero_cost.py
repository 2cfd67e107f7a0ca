"""Scoring untrained networks: what one batch of images promises."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from proxies.zero_cost.registry import Score
from space.architecture import Architecture
from space.network import build_network
from supernet.data.batches import fixed_batch
from supernet.data.images import ImageSet
from supernet.randomness import seed_of, seeded


@dataclass(frozen=True)
class Scored:
    """One architecture's scores, and the seconds that each took."""

    name: str
    values: tuple[float, ...]
    seconds: tuple[float, ...]


def score(architecture: Architecture, scores: Sequence[Score], images_BCHW: Tensor, labels_B: Tensor, seed: int) -> Scored:
    """Build an architecture's network and score it; the same seed gives the same weights."""
    with seeded("weights", seed):
        network = build_network(architecture)
    values, seconds = [], []
    for one in scores:
        start = time.perf_counter()
        values.append(one(network, images_BCHW, labels_B))
        seconds.append(time.perf_counter() - start)
    return Scored(architecture.name, tuple(values), tuple(seconds))


def training_batch(images: ImageSet, train: np.ndarray, count: int, side: int, seed: int) -> tuple[Tensor, Tensor]:
    """So many of the training images and their labels, drawn by the seed, without augmentation.

    Args:
        train: indices of the training images.
        side: in pixels.
    """
    rng = np.random.default_rng(seed_of("scores", seed))
    return fixed_batch(images, rng.choice(train, count, replace=False), side)
