"""A band over a space so small that its members are listed. Its cost may be anything.

A single term over all slots holds a cost that does not add up, such as a measured latency of every member.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import numpy as np

from proxies.band.additive_cost import AdditiveCost, CategoricalSpace, Row
from proxies.band.band import Band
from proxies.cost import Budget, BudgetError, format_amount

MAX_COMBINATIONS = 1_000_000
"""Spaces with no more combinations of options than this are listed; that takes a second or two."""


def band_of(space: CategoricalSpace, cost: AdditiveCost, budget: Budget) -> Band:
    """The members that a budget admits: listed where the space is small, else counted by dynamic programming."""
    is_small = math.prod(map(len, space.slots.values())) <= MAX_COMBINATIONS
    return ListedBand(space, cost, budget) if is_small else Band(space, cost, budget)


class ListedBand(Band):
    """A band that knows each of its members.

    Raises BudgetError where there is none.
    """

    def _build(self) -> None:
        combinations = np.indices(tuple(self.rows.sizes)).reshape(len(self.rows.sizes), -1).T
        # A combination is its own member if none of its inactive slots holds anything but 0.
        members = combinations[(self.rows.canonical(combinations) == combinations).all(axis=1)]
        costs = self.costs(members)
        self._set_reachable(costs)
        self._members = members[self._fits(costs)]
        if not len(self._members):
            least, most = (format_amount(end[self.budget.primary], self.budget.primary) for end in self.reachable)
            raise BudgetError(
                f"budget: got {self.budget}, which no member of {self.space.name} meets; expected something within {least} and {most}")
        shapes = self._members[:, self.rows.columns(self.space.shape_slots)]
        _, shape = np.unique(shapes, axis=0, return_inverse=True)
        self._by_shape = np.split(np.argsort(shape, kind="stable"), np.cumsum(np.bincount(shape))[:-1])

    @property
    def count_bounds(self) -> tuple[int, int]:
        return len(self._members), len(self._members)

    def sample(self, rng: random.Random) -> Row:
        return self._members[rng.choice(rng.choice(self._by_shape))]

    def sample_uniform(self, rng: random.Random) -> Row:
        return self._members[rng.randrange(len(self._members))]

    def members(self, max_members: int) -> Iterator[Row]:
        return iter(self._members[:max_members])
