"""The architectures that a supernet's training samples: a whole space, or the part of it that a budget admits."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from space.architecture import Architecture
from space.search_space import Option, SearchSpace

Sample = Callable[[random.Random], Architecture]
Choices = Mapping[str, Option]
"""The chosen option of every slot of a space."""
Excess = Callable[[Sequence[Choices]], Sequence[float]]
"""By how much architectures exceed a budget, as a share of it; at most 0 for those that it admits."""


@dataclass(frozen=True)
class SamplingDomain:
    """The architectures that may be trained.

    Args:
        sample: draws one of them.
        excess: positive for the space's other architectures; none where there are no others.
    """

    space: SearchSpace
    sample: Sample
    excess: Excess | None = None


def whole_space(space: SearchSpace) -> SamplingDomain:
    """All architectures of a space, the options of every slot equally likely."""
    return SamplingDomain(space, space.sample)
