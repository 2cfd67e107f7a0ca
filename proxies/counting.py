"""How many architectures a budget admits."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from proxies.cost import Budget
from proxies.grid import Counts, Grid, axes_of, sum_ahead
from proxies.space_costs import SpaceCosts

EXACT_CELLS = {1: (2**23,), 2: (2**12, 2**11)}
BOUND_CELLS = {1: (2**18,), 2: (2**9, 2**8)}
MAX_WORK = 3e9
"""Additions that an exact count may take: some seconds."""
ROUNDING = 1e-10
"""More than what rounding does to a sum of some thousand positive terms in double precision, of several million a term."""


def count_bounds(costs: SpaceCosts, budget: Budget) -> tuple[int, int]:
    """A least and a greatest number of distinct members of the band.

    The two are equal where the space's costs share a unit so great that every sum has a cell of its own. Otherwise
    they count what is surely inside, and what is inside unless rounding to cells deceives.
    """
    num_limits = len(budget.limits)
    fine = Grid(costs, axes_of(costs, budget, EXACT_CELLS[num_limits]))
    if fine.is_exact and _work(fine, costs) <= MAX_WORK:
        exact = _exact(fine, costs)
        return exact, exact
    coarse = Grid(costs, axes_of(costs, budget, BOUND_CELLS[num_limits]))
    least, most = (_total(coarse, band) for band in (coarse.sure_band, coarse.widened_band))
    return math.floor(least * (1 - ROUNDING)), math.ceil(most * (1 + ROUNDING))


def _exact(grid: Grid, costs: SpaceCosts) -> int:
    """Count modulo as many coprime numbers as the space is large, and put the remainders together."""
    # Unsigned integers count modulo 2**64 by themselves.
    modulus = 2**64
    total = int(_total(grid, grid.widened_band.astype(np.uint64)))
    # Sums of so many terms below an odd modulus fit 64 bits.
    odd = 2**63 // max(len(extras) + len(stage.extras) for stage in grid.stages for extras in stage.extras.values()) | 1
    while modulus <= costs.space.size:
        odd = next(number for number in range(odd - 2, 0, -2) if math.gcd(number, modulus) == 1)
        remainder = int(_total(grid, grid.widened_band.astype(np.uint64), odd))
        total += modulus * ((remainder - total) * pow(modulus, -1, odd) % odd)
        modulus *= odd
    return total


def _total(grid: Grid, band: Counts, modulus: int | None = None) -> float:
    """In how many ways a band is reached, summed over all macro shapes."""
    after = {width: sum_ahead(band, Counter([cells])) for width, cells in grid.exits.items()}
    for stage in reversed(grid.stages):
        before: dict[int, Counts] = {}
        for width, counts in after.items():
            grown = np.zeros_like(band)
            for _, ways in stage.prepend(width, counts, modulus):
                grown += ways
            for (previous, own), cells in stage.entry.items():
                if own == width:
                    before[previous] = before.get(previous, 0) + sum_ahead(grown, Counter([cells]))
        after = {width: counts % modulus if modulus else counts for width, counts in before.items()}
    return after[0][(0,) * len(grid.axes)]


def _work(grid: Grid, costs: SpaceCosts) -> float:
    """Additions that `_exact` takes: 64 bits in the first pass, about 56 in each further one."""
    passes = 1 + max(0, -(-(costs.space.size.bit_length() - 64) // 56))
    steps = sum(
        stage.depths[-1] * sum(len(Counter(extras)) for extras in stage.ffns(width)) + len(stage.depths) * len(stage.ffns(width))
        for stage in grid.stages
        for width in {width for width, _ in stage.extras}
    )
    return passes * steps * math.prod(grid.shape)
