"""A band over a space so small that its members are listed: nothing is drawn twice as often as it should, and no cost is too strange.

A single term over all slots holds a cost that does not add up, such as a measured latency of every member.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from proxies.band.additive_cost import AdditiveCost, CategoricalSpace
from proxies.band.band import Band
from proxies.cost import Budget, BudgetError, format_amount

MAX_COMBINATIONS = 1_000_000
"""Spaces with at most so many combinations of options are listed; that takes a second or two."""


def band_of(space: CategoricalSpace, cost: AdditiveCost, budget: Budget) -> Band:
    """The members that a budget admits: listed where the space is small, else counted by dynamic programming."""
    is_small = math.prod(map(len, space.slots.values())) <= MAX_COMBINATIONS
    return ListedBand(space, cost, budget) if is_small else Band(space, cost, budget)


class ListedBand(Band):
    """A band that knows each of its members.

    Raises BudgetError where there is none.
    """

    def _build(self, quantities: list[str]) -> None:
        combinations = np.indices(tuple(self.rows.sizes)).reshape(len(self.rows.sizes), -1).T
        # A combination is its own member if nothing in it is ignored.
        members = combinations[(self.rows.canonical(combinations) == combinations).all(axis=1)]
        costs = self._table(members)
        ends = (costs[:, 0].argmin(), costs[:, 0].argmax())
        smallest, largest = (dict(zip(quantities, costs[end].tolist(), strict=True)) for end in ends)
        self.reachable = smallest, largest
        self._members = members[self._fits(costs)]
        if not len(self._members):
            budget, name = self.budget, self.space.name
            least, most = (format_amount(end[budget.primary], budget.primary) for end in self.reachable)
            raise BudgetError(f"budget: got {budget}, which no member of {name} meets; expected something within {least} and {most}")
        shapes = self._members[:, self.rows.columns(self.space.shape_slots)]
        _, shape = np.unique(shapes, axis=0, return_inverse=True)
        self._by_shape = np.split(np.argsort(shape, kind="stable"), np.cumsum(np.bincount(shape))[:-1])

    @property
    def count_bounds(self) -> tuple[int, int]:
        return len(self._members), len(self._members)

    def sample(self, rng: random.Random) -> NDArray[np.int64]:
        return self._members[rng.choice(rng.choice(self._by_shape))]

    def sample_uniform(self, rng: random.Random) -> NDArray[np.int64]:
        return self._members[rng.randrange(len(self._members))]

    def members(self, max_members: int) -> Iterator[NDArray[np.int64]]:
        return iter(self._members[:max_members])
