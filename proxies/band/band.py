"""The members of a space that a budget admits: how many there are, even draws among them, and a list of them.

Works over any space of categorical choices whose costs add up. Membership is exact: whatever leaves this module has been checked
against the integer cost tables. How draws stay even is told in `proxies.band.quantisation` and `proxies.band.sampling`.
"""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxies.band import exact_count as counting
from proxies.band.additive_cost import AdditiveCost, CategoricalSpace, CostTable, Rows
from proxies.band.counts import TooMuchWork
from proxies.band.extremes import extreme, nearest, some_costs
from proxies.band.factorisation import CouplingError, Sections, Values
from proxies.band.quantisation import Grid
from proxies.band.sampling import Draws
from proxies.cost import Budget, BudgetError, format_amount

Row = NDArray[np.int64]

MAX_CELLS = ((8192,), (768, 256), (128, 48))
"""The grid's resolution by number of limits, the primary one's and the others': fine enough that few draws miss the band."""
MAX_WORK = 4e8
"""Additions that filling a grid may take, some seconds; where it takes more, the grid is made coarser."""
MIN_CELLS = 8
MAX_DRAWS = 10_000
"""A draw on the grid misses the true band seldom; only a very narrow band needs more than a few."""
MAX_MISSES = 10
"""Draws by which a shape must show a member; else its members on the grid are listed."""
MAX_PROBES = 100
"""The same for shapes with too many members on the grid to list. One with few of the band, at its edge, may fail: `sample`
then leaves it out, `sample_uniform` does not."""
MAX_SHAPES_TRIED = 1_000
"""Shapes in a row that show no member."""
MAX_LISTED = 20_000
"""Bands of at most so many members on the grid are counted one by one."""
MAX_LISTED_SHAPE = 2_000
"""Of shapes with at most so many members on the grid those of the band are listed where draws miss them."""
MAX_ESTIMATE_DRAWS = 1_000
SURE = 0.02
"""A shape's share of draws that surely hit the band from which on nothing has to be tried out."""
MAX_WITNESSES = 128
"""Costs of members that are looked at for one inside, before tables are made to find it."""
NEAR = 0.02
"""Bounds on a count that lie so close, as a share, are as good as an estimate from draws."""


class Band:
    """The members of a space whose cost a budget admits. Tables for draws are made when one is drawn first, some seconds for a large space.

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
        self._build(quantities)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is built anew: tables are large, and quickly made."""
        return type(self), (self.space, self.cost, self.budget)

    def _build(self, quantities: list[str]) -> None:
        """Find out what is reachable, and that something is admitted."""
        self._sections = Sections(self.space, self.rows, self.cost, quantities)
        self._least, self._most = (
            np.array([extreme(self._sections, place, sign)[place] for place in range(len(quantities))]) for sign in (1, -1)
        )
        self.reachable: tuple[Mapping[str, int], Mapping[str, int]] = tuple(  # type: ignore[assignment]
            dict(zip(quantities, extreme(self._sections, 0, sign).tolist(), strict=True)) for sign in (1, -1)
        )
        self._check_within_reach()
        self._few = lru_cache(maxsize=None)(self._find_few)
        # Mostly one of a few costs lies inside; the tables for draws are made when they are needed.
        if not self._fits(some_costs(self._sections, MAX_WITNESSES)).any() and self._is_empty():
            costs = nearest(self._sections, self.budget)
            # Draws may miss what is there; a member that is known is proof.
            if not self._fits(costs[None])[0]:
                self._refuse(self._in_words(costs))

    def _is_empty(self) -> bool:
        ways = self._draws.ways
        return all(self._few(shape) == [] for shape in sorted(ways, key=ways.__getitem__, reverse=True))

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
        return self._fits(self._table(rows))

    def _fits(self, costs: NDArray[np.int64]) -> NDArray[np.bool_]:
        return (costs <= self._limits).all(axis=1) & (costs[:, 0] >= self.budget.least)

    def sample(self, rng: random.Random) -> Row:
        """Draw a shape evenly among those with members, then a member of it evenly.

        Drawn evenly over all members, nearly all would be of the deepest shapes: these have the most combinations. That is done
        only where hardly any shape shows a member, at the very edge of what can be reached.
        """
        for _ in range(MAX_SHAPES_TRIED):
            shape = rng.choice(self._shapes)
            few = self._few(shape)
            if few != []:
                return rng.choice(few) if few else self._first_admitted(partial(self._draws.draw, shape, rng))
        return self.sample_uniform(rng)

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

    @cached_property
    def _shapes(self) -> list[Values]:
        return list(self._draws.ways)

    @cached_property
    def _draws(self) -> Draws:
        for coarser in range(16):
            cells = tuple(tuple(max(size >> coarser, MIN_CELLS) for size in sizes) for sizes in MAX_CELLS)
            with contextlib.suppress(TooMuchWork):
                return Draws(self._grid(cells), MAX_WORK)
        raise CouplingError(f"{self.space.name}: got more shapes than can be counted, expected fewer combinations of shape slots")

    def _grid(self, max_cells: tuple[tuple[int, ...], ...]) -> Grid:
        lower = np.zeros_like(self._limits)
        lower[0] = self.budget.least
        return Grid(self._sections, lower, self._limits, self._most, max_cells)

    def _admits(self, row: Row) -> bool:
        return self._draws.is_exact or bool(self.admits(row[None])[0])

    def _first_admitted(self, draw: Callable[[], Row]) -> Row:
        for _ in range(MAX_DRAWS):
            row = draw()
            if self._admits(row):
                return row
        raise BudgetError(f"budget: got a band of {self.budget} so narrow that {MAX_DRAWS} draws missed it; expected a lower floor")

    def _find_few(self, shape: Values) -> list[Row] | None:
        """The members of a shape that draws miss nearly always, none perhaps; None where draws do not.

        This is found out when a shape is first drawn, not beforehand for all, of which there may be many. The answer is
        always the same, so that draws depend on their generator alone.
        """
        if self._draws.sure[shape] >= SURE * self._draws.ways[shape]:
            return None
        rng = random.Random(0)
        listable = self._draws.ways[shape] <= MAX_LISTED_SHAPE
        if any(self._admits(self._draws.draw(shape, rng)) for _ in range(MAX_MISSES if listable else MAX_PROBES)):
            return None
        return list(self._listed_of(shape)) if listable else []

    def _drawn_evenly(self, rng: random.Random) -> Row:
        shapes, ways = self._all_shapes
        return self._draws.draw(rng.choices(shapes, cum_weights=ways)[0], rng)

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
            self._refuse(self._in_words(nearest(self._sections, self.budget)))

    def _in_words(self, costs: NDArray[np.int64]) -> str:
        return " with ".join(format_amount(int(amount), quantity) for amount, quantity in zip(costs, self.budget.limits, strict=True))

    def _refuse(self, nearest_cost: str) -> None:
        quantity = self.budget.primary
        smallest, largest = (format_amount(cost[quantity], quantity) for cost in self.reachable)
        raise BudgetError(
            f"budget: got {self.budget}, a band from {format_amount(self.budget.least, quantity)}; "
            f"expected something within {smallest} and {largest}, what {self.space.name} reaches; the nearest it has is {nearest_cost}")
