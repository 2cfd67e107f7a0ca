"""Which architectures a step of supernet training runs: strategies, by name.

The paths of a step depend on the seed and the step alone, so a resumed training repeats them, and all processes train the same paths.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from space.architecture import Architecture
from space.errors import UserError
from space.search_space import Option, SearchSpace
from supernet.fair import fair, num_fair_paths
from supernet.sampling_domain import SamplingDomain

Paths = Callable[[int], Sequence[Architecture]]
"""The architectures that a step trains; their gradients add up to one update."""

NUM_RANDOM = 2
"""Random architectures in a step of the sandwich rule, as in its paper's experiments."""
NUM_CANDIDATES = 16
"""Samples among which the sandwich rule looks for a band's largest and smallest architecture."""


class PathsError(UserError, ValueError):
    """An unknown strategy."""


@dataclass(frozen=True)
class Strategy:
    """A way to train a supernet.

    Args:
        paths: of a sampling domain and a seed.
        num_paths: architectures that a step trains, by the space.
        distils: whether a step's first architecture teaches the others: they learn its predictions instead of the labels.
    """

    paths: Callable[[SamplingDomain, int], Paths]
    num_paths: Callable[[SearchSpace], int]
    distils: bool = False


def uniform(domain: SamplingDomain, seed: int) -> Paths:
    """One sampled architecture a step (https://arxiv.org/abs/1904.00420)."""
    return lambda step: (domain.sample(random.Random(f"{seed} path {step}")),)


def sandwich(domain: SamplingDomain, seed: int) -> Paths:
    """The largest, the smallest and random architectures (https://arxiv.org/abs/1903.05134).

    Operators have no order by size, so the largest has the greatest widths and depths with random operators, and the smallest likewise.
    In a band they are those of some samples whose widths and depths have room for most and fewest weights.
    """

    def paths(step: int) -> Sequence[Architecture]:
        rng = random.Random(f"{seed} sandwich {step}")
        if domain.excess is None:
            extremes = _with_shape(domain, -1, rng), _with_shape(domain, 0, rng)
            return (*extremes, *(domain.sample(rng) for _ in range(NUM_RANDOM)))
        smallest, *others, largest = sorted((domain.sample(rng) for _ in range(NUM_CANDIDATES)), key=_capacity)
        return (largest, smallest, *rng.sample(others, NUM_RANDOM))

    return paths


STRATEGIES: Mapping[str, Strategy] = {
    "uniform": Strategy(uniform, lambda space: 1),
    "fair": Strategy(fair, num_fair_paths),
    "sandwich": Strategy(sandwich, lambda space: 2 + NUM_RANDOM, distils=True),
}


def strategy(name: str) -> Strategy:
    """A strategy by its name; PathsError lists the names."""
    if name not in STRATEGIES:
        raise PathsError(f"paths: got {name!r}, expected one of {', '.join(STRATEGIES)}")
    return STRATEGIES[name]


def _with_shape(domain: SamplingDomain, index: int, rng: random.Random) -> Architecture:
    """An architecture with the widths and depths at an index of their options, and random operators."""
    shape = domain.space.shape_slots

    def choose(name: str, options: tuple[Option, ...]) -> Option:
        return options[index] if name in shape else rng.choice(options)

    return domain.space.decide(choose)


def _capacity(architecture: Architecture) -> int:
    """Roughly how many weights the widths and depths have room for, whatever the operators."""
    return sum(len(stage.blocks) * stage.width**2 for stage in architecture.stages)
