"""Where supernet training may go: a whole space, or the part of it that a budget admits."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from space.architecture import Architecture
from space.search_space import Option, SearchSpace

Sample = Callable[[random.Random], Architecture]
Answers = Mapping[str, Option]
"""A member of a space by the answer to every slot."""
Excess = Callable[[Sequence[Answers]], Sequence[float]]
"""By how much members lie outside a budget, as a share of it; at most 0 inside."""


@dataclass(frozen=True)
class Scope:
    """What may be trained.

    Args:
        sample: draws one of the architectures.
        excess: tells the answers inside from those outside; none where all of the space is inside.
    """

    space: SearchSpace
    sample: Sample
    excess: Excess | None = None


def whole(space: SearchSpace) -> Scope:
    """All of a space, every slot answered evenly."""
    return Scope(space, space.sample)
