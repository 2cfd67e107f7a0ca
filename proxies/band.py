"""The members of a space that a budget admits: how many there are, even draws among them, and a list of them.

Works over any space of categorical choices whose costs add up. Membership is exact: whatever leaves this module has been checked
against the integer cost tables. How draws stay even is told in `proxies.grid` and `proxies.ways`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from proxies import counting
from proxies.cost import Budget, BudgetError, format_amount
from proxies.draws import Draws
from proxies.grid import Grid
from proxies.reach import extreme, nearest
from proxies.sections import Sections, Values
from proxies.terms import AdditiveCost, CategoricalSpace, CostTable, Rows

Row = NDArray[np.int64]

MAX_CELLS = ((16384,), (768, 192), (192, 48))
"""The grid's resolution by number of limits, the primary one's and the others': fine enough that few draws miss the band, small
enough to fill in a second or two."""
MAX_DRAWS = 10_000
"""A draw on the grid misses the true band seldom; only a very narrow band needs more than a few."""
MAX_PROBES = (10, 1_000)
"""Draws by which a shape must show a member: before its members on the grid are listed, and where these are too many for that. One
with very few, at the band's edge, may then fail: `sample` leaves it out, `sample_uniform` does not."""
MAX_LISTED = 20_000
"""Bands, or shapes, of at most so many members on the grid are gone through one by one."""
MAX_ESTIMATE_DRAWS = 1_000
NEAR = 0.02
"""Bounds on a count that lie so close, as a share, are as good as an estimate from draws."""


class Band:
    """The members of a space whose cost a budget admits. Building one takes a few seconds for a large space.

    Rows are those of `rows`, canonical ones.

    Args:
        cost: its terms name every limited quantity.

    Attributes:
        reachable: by limited quantity, the costs of a member that costs least of the primary quantity, and of one that costs most.

    Raises BudgetError where nothing is admitted, with the reachable range and the nearest reachable cost, where a limited quantity is
    unknown, and where the terms couple too many slots.
    """

    def __init__(self, space: CategoricalSpace, cost: AdditiveCost, budget: Budget) -> None:
        self.space = space
        self.cost = cost
        self.budget = budget
        self.rows = Rows(space)
        quantities = list(budget.limits)
        self._check_quantities(quantities)
        self._limits = np.array(list(budget.limits.values()), dtype=np.int64)
        self._table = CostTable(self.rows, cost.terms, quantities)
        self._sections = Sections(space, self.rows, cost, quantities)
        self._least, self._most = (
            np.array([extreme(self._sections, place, sign)[place] for place in range(len(quantities))]) for sign in (1, -1)
        )
        self.reachable: tuple[Mapping[str, int], Mapping[str, int]] = tuple(  # type: ignore[assignment]
            dict(zip(quantities, extreme(self._sections, 0, sign).tolist(), strict=True)) for sign in (1, -1)
        )
        self._check_within_reach()
        self._draws = Draws(self._grid(MAX_CELLS, 1.0))
        self._few: dict[Values, list[Row]] = {}
        self._shapes = self._inhabited()
        if not self._shapes:
            self._refuse(nearest(self._sections, budget))

    @cached_property
    def count_bounds(self) -> tuple[int, int]:
        """A least and a greatest number of members; equal where they could be counted exactly. The first call takes some seconds."""
        if sum(self._draws.ways.values()) <= MAX_LISTED:
            listed = sum(1 for _ in self._listed())
            return listed, listed
        return counting.count_bounds(self._grid)

    @cached_property
    def count(self) -> int:
        """Number of distinct members: exact where `count_bounds` meet.

        Where these lie within 2 % it is their mean, and else an unbiased estimate from 1,000 draws, kept within the
        bounds: draws on the grid are even over somewhat more than the band, of known size, and the share that is inside tells
        the rest. Its standard error is a few percent.
        """
        least, most = self.count_bounds
        if most - least <= NEAR * most:
            return (least + most) // 2
        rng = random.Random(0)
        drawn = np.array([self._drawn_evenly(rng) for _ in range(MAX_ESTIMATE_DRAWS)])
        estimate = int(sum(self._draws.ways.values()) * float(self.admits(drawn).mean()))
        return min(max(estimate, least), most)

    def costs(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Costs (n, limits) of canonical rows (n, slots), in the order of the budget's limits."""
        return self._table(rows)

    def admits(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of canonical rows (n, slots) lie inside all bounds, (n,)."""
        costs = self._table(rows)
        return (costs <= self._limits).all(axis=1) & (costs[:, 0] >= self.budget.least)

    def sample(self, rng: random.Random) -> Row:
        """Draw a shape evenly among those with members, then a member of it evenly.

        Drawn evenly over all members, nearly all would be of the deepest shapes: these have the most combinations.
        """
        shape = rng.choice(self._shapes)
        if shape in self._few:
            return rng.choice(self._few[shape])
        return self._first_admitted(lambda: self._draws.draw(shape, rng))

    def sample_uniform(self, rng: random.Random) -> Row:
        """Draw evenly among all distinct members."""
        return self._first_admitted(lambda: self._drawn_evenly(rng))

    def members(self, max_members: int) -> Iterator[Row]:
        """All members, shape by shape, or the first `max_members` of them."""
        return itertools.islice(self._listed(), max_members)

    def _listed(self) -> Iterator[Row]:
        return itertools.chain.from_iterable(map(self._listed_of, self._draws.ways))

    def _listed_of(self, shape: Values) -> Iterator[Row]:
        rows = self._draws.members(shape)
        while some := list(itertools.islice(rows, 1_000)):
            yield from itertools.compress(some, self.admits(np.array(some)))

    def _grid(self, max_cells: tuple[tuple[int, ...], ...], crowding: float) -> Grid:
        lower = np.zeros_like(self._limits)
        lower[0] = self.budget.least
        return Grid(self._sections, lower, self._limits, self._most, max_cells, crowding)

    def _first_admitted(self, draw: Callable[[], Row], max_draws: int = MAX_DRAWS) -> Row:
        for _ in range(max_draws):
            row = draw()
            if self._draws.is_exact or self.admits(row[None])[0]:
                return row
        raise BudgetError(f"budget: got a band of {self.budget} so narrow that {max_draws} draws missed it; expected a lower floor")

    def _drawn_evenly(self, rng: random.Random) -> Row:
        shapes, ways = self._all_shapes
        return self._draws.draw(rng.choices(shapes, cum_weights=ways)[0], rng)

    def _inhabited(self) -> list[Values]:
        """The shapes with members."""
        if self._draws.is_exact:
            return list(self._draws.ways)
        rng = random.Random(0)
        return [shape for shape in self._draws.ways if self._finds_one(shape, rng)]

    def _finds_one(self, shape: Values, rng: random.Random) -> bool:
        def drawn(probes: int) -> bool:
            return any(self.admits(self._draws.draw(shape, rng)[None])[0] for _ in range(probes))

        if drawn(MAX_PROBES[0]):
            return True
        if self._draws.ways[shape] > MAX_LISTED:
            return drawn(MAX_PROBES[1])
        # Draws would miss the few members there are too often.
        self._few[shape] = list(self._listed_of(shape))
        return bool(self._few[shape])

    @cached_property
    def _all_shapes(self) -> tuple[list[Values], list[float]]:
        """Shapes, and the running sum of their numbers of members."""
        return list(self._draws.ways), list(itertools.accumulate(self._draws.ways.values()))

    def _check_quantities(self, quantities: list[str]) -> None:
        known = dict.fromkeys(quantity for term in self.cost.terms for quantity in term.amounts)
        for quantity in quantities:
            if quantity not in known:
                raise BudgetError(f"budget: got a limit on {quantity}, expected one on {', '.join(known)}, what costs are known of here")

    def _check_within_reach(self) -> None:
        smallest, largest = (cost[self.budget.primary] for cost in self.reachable)
        if self.budget.limits[self.budget.primary] < smallest:
            self._refuse(format_amount(smallest, self.budget.primary))
        if self.budget.least > largest:
            self._refuse(format_amount(largest, self.budget.primary))
        if (self._limits < self._least).any():
            self._refuse(nearest(self._sections, self.budget))

    def _refuse(self, nearest_cost: str) -> None:
        quantity = self.budget.primary
        smallest, largest = (format_amount(cost[quantity], quantity) for cost in self.reachable)
        raise BudgetError(
            f"budget: got {self.budget}, a band from {format_amount(self.budget.least, quantity)}; "
            f"expected something within {smallest} and {largest}, what {self.space.name} reaches; the nearest it has is {nearest_cost}")
