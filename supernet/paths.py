"""Which architectures a step of supernet training runs: strategies, by name.

What a step runs is a function of the seed and the step alone, so a resumed training repeats it, and every one of several
processes trains the same paths.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from space.architecture import Architecture
from space.errors import UserError
from space.search_space import Option, SearchSpace
from supernet.fair import fair, num_fair_paths
from supernet.scope import Scope

Paths = Callable[[int], Sequence[Architecture]]
"""The architectures that a step trains; their gradients add up to one update."""

NUM_RANDOM = 2
"""Random architectures in a step of the sandwich rule, as in its paper's experiments."""
NUM_CANDIDATES = 16
"""Draws among which a band's largest and smallest are picked."""


class PathsError(UserError, ValueError):
    """A strategy that there is none of."""


@dataclass(frozen=True)
class Strategy:
    """A way to train a supernet.

    Args:
        paths: of a scope and a seed.
        num_paths: how many architectures a step trains, by the space.
        distils: whether a step's first architecture teaches the others: they learn its predictions instead of the labels.
    """

    paths: Callable[[Scope, int], Paths]
    num_paths: Callable[[SearchSpace], int]
    distils: bool = False


def uniform(scope: Scope, seed: int) -> Paths:
    """One architecture a step, drawn by the scope (https://arxiv.org/abs/1904.00420)."""
    return lambda step: (scope.sample(random.Random(f"{seed} path {step}")),)


def sandwich(scope: Scope, seed: int) -> Paths:
    """The largest, the smallest and random architectures (https://arxiv.org/abs/1903.05134).

    Operators have no size, so the largest is one of the greatest widths and depths with operators drawn at random, and the
    smallest likewise. In a band they are those of some draws whose widths and depths make room for most and fewest weights.
    """

    def paths(step: int) -> Sequence[Architecture]:
        rng = random.Random(f"{seed} sandwich {step}")
        if scope.excess is None:
            return (_extreme(scope, -1, rng), _extreme(scope, 0, rng), *(scope.sample(rng) for _ in range(NUM_RANDOM)))
        drawn = [scope.sample(rng) for _ in range(NUM_CANDIDATES)]
        smallest, *others, largest = sorted(drawn, key=_room)
        return (largest, smallest, *rng.sample(others, NUM_RANDOM))

    return paths


STRATEGIES: Mapping[str, Strategy] = {
    "uniform": Strategy(uniform, lambda space: 1),
    "fair": Strategy(fair, num_fair_paths),
    "sandwich": Strategy(sandwich, lambda space: 2 + NUM_RANDOM, distils=True),
}


def strategy(name: str) -> Strategy:
    """A strategy by its name; PathsError lists the names there are."""
    if name not in STRATEGIES:
        raise PathsError(f"paths: got {name!r}, expected one of {', '.join(STRATEGIES)}")
    return STRATEGIES[name]


def _extreme(scope: Scope, place: int, rng: random.Random) -> Architecture:
    shape = scope.space.shape_slots

    def choose(name: str, options: tuple[Option, ...]) -> Option:
        return options[place] if name in shape else rng.choice(options)

    return scope.space.decide(choose)


def _room(architecture: Architecture) -> int:
    """How many weights a shape has room for, operators aside."""
    return sum(len(stage.blocks) * stage.width**2 for stage in architecture.stages)
