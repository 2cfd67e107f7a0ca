"""The members of a space that a budget admits: how many there are, even draws among them, and a list of them.

This works over any space of categorical choices whose costs add up. Membership is exact: every returned row has been checked
against the integer cost tables. `proxies.band.quantisation` and `proxies.band.sampling` tell how draws stay even.
"""

from __future__ import annotations

import contextlib
import itertools
import random
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from proxies.band import counts as counting
from proxies.band.additive_cost import AdditiveCost, CategoricalSpace, Costs, CostTable, Row, Rows
from proxies.band.extremes import nearest, some_costs
from proxies.band.factorisation import CouplingError, Indices, Section, factorise
from proxies.band.quantisation import Grid
from proxies.band.restrictions import possible_limits, restrictions_of
from proxies.band.sampling import ShapeSampler
from proxies.cost import Budget, BudgetError, format_amount

RESOLUTIONS = ((8192,), (768, 256), (128, 48))
"""By number of limits, cells of the grid's first and further axes: fine enough that few draws miss the band."""
MIN_CELLS = 8
MAX_WORK = 4e8
"""Additions that filling a grid may take, some seconds; where it takes more, the grid is made coarser."""
MAX_DRAWS = 10_000
"""A draw on the grid seldom misses the true band; only a very narrow band needs more than a few."""
SURE = 0.02
"""A shape of which at least this share surely lies inside needs no trials."""
MAX_LISTED_SHAPE = 2_000
"""A shape with no more members on the grid than this is listed if the first `MAX_MISSES` draws miss the band."""
MAX_MISSES = 10
MAX_TRIALS = 100
"""Draws by which a larger shape must show a member. One with few, at the band's edge, may fail: `sample` then leaves it out,
`sample_uniform` does not."""
MAX_SHAPES_TRIED = 1_000
"""Shapes in a row that show no member."""
MAX_LISTED = 20_000
"""Bands with no more members on the grid than this are counted one by one."""
MAX_WITNESSES = 128
"""Costs of members among which one inside is sought before tables are made to find it."""


class Band:
    """The members of a space whose cost a budget admits. Tables for draws are made at the first draw, some seconds for a large space.

    Args:
        cost: its terms name every limited quantity that adds up.
        peaks: terms of the others, of which a member needs the greatest.

    Attributes:
        rows: the encoding of members; all rows here are canonical rows of it.
        reachable: by limited quantity that adds up, the costs of a member that costs least of the primary quantity, and of one that
            costs most.

    Raises BudgetError where nothing is admitted, with the reachable range and the nearest reachable cost, where a limited quantity is
    unknown, and where the terms couple too many slots.
    """

    reachable: tuple[Mapping[str, int], Mapping[str, int]]

    def __init__(self, space: CategoricalSpace, cost: AdditiveCost, budget: Budget, peaks: AdditiveCost = ()) -> None:
        self.space = space
        self.cost = cost
        self.peaks = peaks
        self.budget = budget
        self.rows = Rows(space)
        known = dict.fromkeys(quantity for term in (*cost, *peaks) for quantity in term.costs)
        for quantity in budget.limits:
            if quantity not in known:
                raise BudgetError(f"budget: got a limit on {quantity}, expected one on {', '.join(known)}, what costs are known of here")
        # What adds up comes first in a budget.
        self._sums = Budget(budget.sums, budget.floor)
        self._limits = np.array(list(budget.limits.values()), dtype=np.int64)
        self._table = CostTable(self.rows, cost, list(budget.sums))
        self._peak_limits = {quantity: limit for quantity, limit in budget.limits.items() if quantity not in budget.sums}
        self._peak_table = CostTable(self.rows, peaks, list(self._peak_limits), np.maximum) if self._peak_limits else None
        self._build()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is built anew: tables are large, and quickly made."""
        return type(self), (self.space, self.cost, self.budget, self.peaks)

    def _build(self) -> None:
        """Find out what is reachable, and that something is admitted."""
        self._sections = self._sections_below(self._peak_limits)
        if not self._sections:
            self._refuse_peak()
        self._sampler_of = lru_cache(maxsize=None)(self._make_sampler)
        costs = some_costs(self._sections, MAX_WITNESSES)
        self._set_reachable(costs)
        self._most = costs.max(axis=0)
        smallest, largest = (cost[self.budget.primary] for cost in self.reachable)
        if self._limits[0] < smallest or self.budget.least > largest:
            self._refuse(np.array([smallest if self._limits[0] < smallest else largest]))
        # Mostly one of a few costs lies inside. Only where none does, tables have to tell.
        if not self._fits(costs).any() and ((self._limits[: costs.shape[1]] < costs.min(axis=0)).any() or self._shows_no_member()):
            found = nearest(self._sections, self._sums)
            # Draws may miss what is there; a member that is known is proof.
            if not self._fits(found[None])[0]:
                self._refuse(found)

    def _sections_below(self, limits: Mapping[str, int]) -> list[Section]:
        """The sections of the members whose peaks do not exceed limits; none where there are no such members."""
        sizes = dict(zip(self.rows.names, self.rows.sizes.tolist(), strict=True))
        restrictions = restrictions_of(self.peaks, limits, sizes, self.space.conditions)
        return factorise(self.space, self.rows, self.cost, list(self._sums.limits), restrictions)

    def _refuse_peak(self) -> NoReturn:
        ((quantity, limit),) = self._peak_limits.items()
        candidates = [candidate for candidate in possible_limits(self.peaks, quantity) if candidate > limit]
        least = candidates[bisect_left(candidates, True, key=lambda candidate: bool(self._sections_below({quantity: candidate})))]
        raise BudgetError(
            f"budget: got {self.budget}, expected at least {format_amount(least, quantity)}, the least that {self.space.name} needs")

    def _set_reachable(self, costs: Costs) -> None:
        ends = costs[:, 0].argmin(), costs[:, 0].argmax()
        least, most = (dict(zip(self._sums.limits, costs[end].tolist(), strict=False)) for end in ends)
        self.reachable = least, most

    def _shows_no_member(self) -> bool:
        counts = self._shapes.counts
        return all(self._sampler_of(shape) is None for shape in sorted(counts, key=counts.__getitem__, reverse=True))

    def _refuse(self, nearest_cost: Costs) -> None:
        budget, quantity = self.budget, self.budget.primary
        smallest, largest = (format_amount(cost[quantity], quantity) for cost in self.reachable)
        found = " with ".join(format_amount(cost, name) for cost, name in zip(nearest_cost.tolist(), budget.limits, strict=False))
        within = "".join(f" within {format_amount(limit, name)}" for name, limit in self._peak_limits.items())
        raise BudgetError(
            f"budget: got {budget}, a band from {format_amount(budget.least, quantity)}; "
            f"expected something within {smallest} and {largest}, what {self.space.name} reaches{within}; the nearest it has is {found}")

    @cached_property
    def count_bounds(self) -> tuple[int, int]:
        """A least and a greatest number of members; equal where they could be counted exactly. The first call takes some seconds."""
        if sum(self._shapes.counts.values()) <= MAX_LISTED:
            listed = sum(1 for _ in self._listed())
            return listed, listed
        return counting.count_bounds(self._grid)

    def costs(self, rows: NDArray[np.int64]) -> Costs:
        """Costs (n, limits) of rows (n, slots), in the order of the budget's limits."""
        costs = self._table(rows)
        return costs if self._peak_table is None else np.concatenate((costs, self._peak_table(rows)), axis=1)

    def admits(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of rows (n, slots) lie inside all bounds, (n,)."""
        return self._fits(self.costs(rows))

    def _fits(self, costs: Costs) -> NDArray[np.bool_]:
        """Which costs (n, limits), or of the first limits alone, lie inside all of their bounds, (n,)."""
        return (costs <= self._limits[: costs.shape[1]]).all(axis=1) & (costs[:, 0] >= self.budget.least)

    def sample(self, rng: random.Random) -> Row:
        """Draw a shape evenly among those with members, then a member of it evenly.

        Drawn evenly over all members, nearly all would be of the deepest shapes: these have the most combinations. That is done
        only where hardly any shape shows a member, at the very edge of what can be reached.
        """
        for _ in range(MAX_SHAPES_TRIED):
            if sampler := self._sampler_of(rng.choice(self._shapes_and_sums[0])):
                return sampler(rng)
        return self.sample_uniform(rng)

    def sample_uniform(self, rng: random.Random) -> Row:
        """Draw evenly among all distinct members."""
        shapes, sums = self._shapes_and_sums
        return self._first_admitted(lambda rng: self._shapes.draw(rng.choices(shapes, cum_weights=sums)[0], rng), rng)

    def members(self, max_members: int) -> Iterator[Row]:
        """All members, shape by shape, or the first `max_members` of them."""
        return itertools.islice(self._listed(), max_members)

    def _listed(self) -> Iterator[Row]:
        return itertools.chain.from_iterable(map(self._members_of, self._shapes.counts))

    def _members_of(self, shape: Indices) -> Iterator[Row]:
        rows = self._shapes.members(shape)
        while some := list(itertools.islice(rows, 1_000)):
            yield from itertools.compress(some, self.admits(np.array(some)))

    @cached_property
    def _shapes(self) -> ShapeSampler:
        for coarser in range(16):
            resolutions = [[max(size >> coarser, MIN_CELLS) for size in sizes] for sizes in RESOLUTIONS]
            with contextlib.suppress(counting.TooMuchWork):
                return ShapeSampler(self._sections, len(self.rows.names), self._grid(resolutions), MAX_WORK)
        raise CouplingError(f"{self.space.name}: got more shapes than can be counted, expected fewer combinations of shape slots")

    @cached_property
    def _shapes_and_sums(self) -> tuple[list[Indices], list[float]]:
        """Shapes, and the running sum of their numbers of members."""
        return list(self._shapes.counts), list(itertools.accumulate(self._shapes.counts.values()))

    def _grid(self, resolutions: Sequence[Sequence[int]]) -> Grid:
        upper = self._limits[: len(self._sums.limits)]
        lower = np.zeros_like(upper)
        lower[0] = self.budget.least
        return Grid(self._sections, lower, upper, self._most, resolutions)

    def _make_sampler(self, shape: Indices) -> Callable[[random.Random], Row] | None:
        """What draws members of a shape evenly; None where the shape shows none.

        This is found out when a shape is first drawn, not beforehand for all, of which there may be many. The answer is
        always the same, so that draws depend on their generator alone.
        """
        draw, count = partial(self._shapes.draw, shape), self._shapes.counts[shape]
        by_rejection = partial(self._first_admitted, draw)
        if self._shapes.sure_counts[shape] >= SURE * count:
            return by_rejection
        rng, is_small = random.Random(0), count <= MAX_LISTED_SHAPE
        if any(self._is_inside(draw(rng)) for _ in range(MAX_MISSES if is_small else MAX_TRIALS)):
            return by_rejection
        listed = list(self._members_of(shape)) if is_small else []
        return (lambda rng: rng.choice(listed)) if listed else None

    def _first_admitted(self, draw: Callable[[random.Random], Row], rng: random.Random) -> Row:
        for _ in range(MAX_DRAWS):
            row = draw(rng)
            if self._is_inside(row):
                return row
        raise BudgetError(f"budget: got a band of {self.budget} so narrow that {MAX_DRAWS} draws missed it; expected a lower floor")

    def _is_inside(self, row: Row) -> bool:
        return self._shapes.is_exact or bool(self.admits(row[None])[0])
