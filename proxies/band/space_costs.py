"""What the members of a search space cost in multiply-adds and parameters, as terms over its slots."""

from __future__ import annotations

from functools import lru_cache

from proxies.band.additive_cost import Term
from proxies.band.space_cost import SpaceParts
from proxies.macs import part_cost
from space.search_space import SearchSpace

QUANTITIES = ("macs", "params")


class SpaceCosts:
    """An `AdditiveCost` of the quantities `macs` and `params`, equal to `cost_of` for every member of the space."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    @property
    def terms(self) -> tuple[Term, ...]:
        """One term a block, one before every stage, and one behind the last stage."""
        return _terms(self.space)


@lru_cache(maxsize=8)
def _terms(space: SearchSpace) -> tuple[Term, ...]:
    # Kept: several bands of one space differ in their budgets alone.
    parts = SpaceParts(space)
    costs = {key: part_cost(part) for key, part in parts.parts.items()}
    return parts.terms({quantity: {key: cost[quantity] for key, cost in costs.items()} for quantity in QUANTITIES})
