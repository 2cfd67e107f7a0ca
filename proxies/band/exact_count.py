"""How many members a budget admits."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count

from proxies.band.counts import Halves
from proxies.band.quantisation import Grid

MAX_CELLS = ((2**17,), (2**9, 2**8), (2**8, 2**6))
"""By number of limits, cells of the grid that bounds are counted on."""
MAX_EXACT_CELLS = ((2**24,), (2**12,), (2**8,))
"""By number of limits, cells of a grid that an exact count may need an axis: as many as fit the memory."""
MAX_WORK = 4e9
"""Additions that an exact count may take: some seconds."""
MAX_ENTRIES = 3e7
"""Entries of its tables, to fit the memory."""
ROUNDING = 1e-9
"""More than what rounding does to a sum of some thousand positive terms in double precision, of several million a term."""


def count_bounds(grid_of: Callable[[tuple[tuple[int, ...], ...]], Grid]) -> tuple[int, int]:
    """A least and a greatest number of distinct members of a band, given its grids by resolution.

    The two are equal where the costs share a unit so great that every sum has a cell of its own, and these are few enough.
    Otherwise they count what is surely inside, and what is inside unless rounding to cells deceives.
    """
    coarse = grid_of(MAX_CELLS)
    halves = Halves(coarse, by_shape=False)
    most = math.ceil(float(halves.total(coarse.widened)) * (1 + ROUNDING))
    fine = grid_of(MAX_EXACT_CELLS)
    if fine.is_exact:
        refined = math.prod(theirs.unit / ours.unit for ours, theirs in zip(fine.axes, coarse.axes, strict=True))
        if halves.work * refined * _passes(most) <= MAX_WORK and halves.entries * refined <= MAX_ENTRIES:
            only = _exact(fine, most)
            return only, only
    return math.floor(float(halves.total(coarse.sure)) * (1 - ROUNDING)), most


def _exact(grid: Grid, most: int) -> int:
    """The number of distinct members, known to be no more than `most`, on a grid without slack.

    It is counted modulo as many coprime numbers as it may be large, and put together from the remainders.
    """
    # Unsigned integers count modulo 2**64 by themselves; products of remainders below 2**32 fit them.
    modulus, total = 2**64, int(Halves(grid, by_shape=False, modulus=0).total(grid.widened))
    odd = count(2**32 - 1, -2)
    while modulus <= most:
        other = next(number for number in odd if math.gcd(number, modulus) == 1)
        remainder = int(Halves(grid, by_shape=False, modulus=other).total(grid.widened)) % other
        total += modulus * ((remainder - total) * pow(modulus, -1, other) % other)
        modulus *= other
    return total


def _passes(most: int) -> int:
    return 1 + max(0, -(-(most.bit_length() - 64) // 31))
