"""How many members a budget admits."""

from __future__ import annotations

import math
from itertools import count

from proxies.grid import Grid
from proxies.ways import Counter

ROUNDING = 1e-9
"""More than what rounding does to a sum of some thousand positive terms in double precision, of several million a term."""
MAX_WORK = 3e9
"""Additions that an exact count may take: some seconds."""


def bounds(grid: Grid) -> tuple[int, int]:
    """A least and a greatest number of distinct members: what is surely inside, and what is inside unless rounding to cells deceives."""
    least, most = (float(Counter(grid, band).total()) for band in (grid.sure, grid.widened))
    return math.floor(least * (1 - ROUNDING)), math.ceil(most * (1 + ROUNDING))


def exact(grid: Grid, most: int) -> int:
    """The number of distinct members, known to be no more than `most`, on a grid without slack.

    It is counted modulo as many coprime numbers as it may be large, and put together from the remainders.
    """
    # Unsigned integers count modulo 2**64 by themselves; products of remainders below 2**32 fit them.
    modulus, total = 2**64, int(Counter(grid, grid.widened, 0).total())
    odd = (number for number in count(2**32 - 1, -2))
    while modulus <= most:
        other = next(number for number in odd if math.gcd(number, modulus) == 1)
        remainder = int(Counter(grid, grid.widened, other).total()) % other
        total += modulus * ((remainder - total) * pow(modulus, -1, other) % other)
        modulus *= other
    return total
