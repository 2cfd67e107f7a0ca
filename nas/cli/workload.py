"""Rough estimates for dry runs: seconds from this machine's measured speed, bytes from weights and maps."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from proxies.macs import part_activations, part_cost
from space.architecture import Architecture

EFFICIENCY = {"cpu": 0.3, "cuda": 0.1}
"""The share of a large matrix product's speed that whole networks reach."""
MATRIX, REPEATS = 512, 5
TRAINING_PASSES = 3
"""A training step takes about as long as so many forward passes."""
FLOAT = 4
COPIES_OF_WEIGHTS = 4
"""Weights, gradients and two moments."""
SAVED_COPIES = 3
"""Weights and two moments, in a checkpoint."""
ALIVE = 0.25
"""The share of the maps of a pass without gradients that is in memory at a time."""


@dataclass(frozen=True)
class Workload:
    """What one image and the weights cost.

    Args:
        macs: on average over the networks.
        activations: elements of all maps, in the network with most of them.
        params: of the largest.
    """

    macs: float
    activations: int
    params: int

    def passing_seconds(self, images: float) -> float:
        """Of forward passes, on all cores or a GPU."""
        return images * self.macs / macs_per_second()

    def training_seconds(self, steps: float, batch_size: int) -> float:
        """Of training, on all cores or a GPU."""
        return TRAINING_PASSES * self.passing_seconds(steps * batch_size)

    def passing_bytes(self, batch_size: int) -> float:
        """Of weights and maps without gradients."""
        return FLOAT * (self.params + ALIVE * batch_size * self.activations)

    def training_bytes(self, batch_size: int) -> float:
        """Of weights, gradients, moments and maps."""
        return FLOAT * (COPIES_OF_WEIGHTS * self.params + TRAINING_PASSES * batch_size * self.activations)

    @property
    def weights_bytes(self) -> float:
        """Of a file with the weights."""
        return float(FLOAT * self.params)

    @property
    def checkpoint_bytes(self) -> float:
        """Of a checkpoint and the rollback checkpoint."""
        return 2 * SAVED_COPIES * self.weights_bytes


def workload_of(architectures: Sequence[Architecture], image_size: int) -> Workload:
    """The workload of some architectures' networks at a side of the images, in pixels."""
    parts = [architecture.parts_at(image_size, image_size) for architecture in architectures]
    costs = [[part_cost(part) for part in network] for network in parts]
    return Workload(
        statistics.mean(sum(cost.macs for cost in of_network) for of_network in costs),
        max(sum(map(part_activations, network)) for network in parts),
        max(sum(cost.params for cost in of_network) for of_network in costs),
    )


@lru_cache(maxsize=1)
def macs_per_second() -> float:
    """The estimated speed of networks on all cores or on the GPU, from that of a matrix product."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    matrix = torch.randn(MATRIX, MATRIX, device=device)
    (matrix @ matrix).sum().item()
    start = time.perf_counter()
    for _ in range(REPEATS):
        product = matrix @ matrix
    product.sum().item()
    return EFFICIENCY[device.type] * REPEATS * MATRIX**3 / (time.perf_counter() - start)


def slower_by(threads: int) -> float:
    """By what factor a job takes longer on so many threads in all than on all cores; 1 on a GPU, which jobs share."""
    return 1.0 if torch.cuda.is_available() else (os.cpu_count() or 1) / threads
