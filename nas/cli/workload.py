"""Rough estimates for dry runs: seconds from a few measured steps of a network on this machine, bytes from weights and maps.

On a CPU the steps are timed in one thread's processor time, which other programs do not take part of: the estimate is that of an idle
machine, also on a busy one.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from nas.execution.resources import threads
from proxies.macs import part_activations, part_cost
from space.architecture import Architecture
from space.network import build_network
from supernet.seeding import seeded
from supernet.training.config import precision_of

EFFICIENCY = {"cpu": 0.3, "cuda": 0.1}
"""The share of a large matrix product's speed that whole networks reach, where none is measured."""
MATRIX, REPEATS = 512, 5
SCALING = 0.8
"""The speed of all cores together, as a share of so many times that of one."""
TRAINING_PASSES = 3
"""A training step takes about as long as so many forward passes, where none is measured."""
MEASURED_STEPS = 3
"""Steps that are run for an estimate; the fastest one after the first counts."""
MAX_SECONDS = 1.0
"""That these are expected to take: batches are smaller where larger ones would take longer."""
PASSING_BATCH = 64
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
        example: the network whose multiply-adds are nearest to the average.
        image_size: side of the images, in pixels.
    """

    macs: float
    activations: int
    params: int
    example: Architecture
    image_size: int

    def passing_seconds(self, images: float) -> float:
        """Of forward passes, on all cores or a GPU."""
        return images * self.macs / self._macs_per_second(PASSING_BATCH, trains=False)

    def training_seconds(self, steps: float, batch_size: int) -> float:
        """Of training, on all cores or a GPU."""
        return steps * batch_size * self.macs / self._macs_per_second(batch_size, trains=True)

    def _macs_per_second(self, batch_size: int, trains: bool) -> float:
        """Multiply-adds of the forward passes of a second; where it trains, backward passes take part of that second."""
        # One network of a size of images stands for others: a comparison has many.
        key = self.image_size, batch_size, trains
        if key not in _SPEEDS:
            estimated = macs_per_second() / (TRAINING_PASSES if trains else 1)
            largest = int(MAX_SECONDS / MEASURED_STEPS * estimated / self.macs)
            _SPEEDS[key] = _measured_speed(self.example, self.image_size, min(batch_size, largest), trains) or estimated
        return _SPEEDS[key]

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


_SPEEDS: dict[tuple[int, int, bool], float] = {}


def workload_of(architectures: Sequence[Architecture], image_size: int) -> Workload:
    """The workload of some architectures' networks at a side of the images, in pixels."""
    parts = [architecture.parts_at(image_size, image_size) for architecture in architectures]
    costs = [[part_cost(part) for part in network] for network in parts]
    macs = [sum(cost.macs for cost in of_network) for of_network in costs]
    mean = statistics.mean(macs)
    return Workload(
        mean,
        max(sum(map(part_activations, network)) for network in parts),
        max(sum(cost.params for cost in of_network) for of_network in costs),
        min(zip(macs, architectures, strict=True), key=lambda one: abs(one[0] - mean))[1],
        image_size,
    )


def _measured_speed(architecture: Architecture, image_size: int, batch_size: int, trains: bool) -> float | None:
    """Multiply-adds of forward passes for each second of a few steps; None where two images take too long, or too much memory."""
    # Batch norms need two images.
    if batch_size < 2:
        return None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with seeded("workload"), threads(1):
        try:
            network = build_network(architecture).to(device).train(trains)
            images = torch.randn(batch_size, architecture.in_chans, image_size, image_size, device=device)
            seconds = []
            for _ in range(MEASURED_STEPS):
                start = _clock()
                with torch.set_grad_enabled(trains), torch.autocast(device.type, torch.bfloat16, enabled=precision_of(device) == "bf16"):
                    mean = network(images).float().logsumexp(1).mean()
                if trains:
                    # Without the optimizer: torch's import a compiler, which takes seconds.
                    mean.backward()
                mean.item()
                seconds.append(_clock() - start)
        except RuntimeError:  # Out of memory.
            return None
    macs = sum(part_cost(part).macs for part in architecture.parts_at(image_size, image_size))
    return _on_all_cores(batch_size * macs / min(seconds[1:]))


@lru_cache(maxsize=1)
def macs_per_second() -> float:
    """The estimated speed of networks on all cores or on the GPU, from that of a matrix product."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with threads(1):
        matrix = torch.randn(MATRIX, MATRIX, device=device)
        (matrix @ matrix).sum().item()
        start = _clock()
        for _ in range(REPEATS):
            product = matrix @ matrix
        product.sum().item()
        return _on_all_cores(EFFICIENCY[device.type] * REPEATS * MATRIX**3 / (_clock() - start))


def _clock() -> float:
    """Seconds of this thread on a processor; of the clock where a GPU computes."""
    return time.perf_counter() if torch.cuda.is_available() else time.thread_time()


def _on_all_cores(speed: float) -> float:
    """The speed of all cores from that of one; a GPU's as it is."""
    cores = os.cpu_count() or 1
    return speed if torch.cuda.is_available() or cores == 1 else SCALING * cores * speed


def slower_by(threads: int) -> float:
    """By what factor a job takes longer on so many threads in all than on all cores; 1 on a GPU, which jobs share."""
    return 1.0 if torch.cuda.is_available() else (os.cpu_count() or 1) / threads
