"""Made-up spaces whose bands are listed in full."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from experiments.benchmarks.sampler_problems import Problem, mini_problem, staged_cost, staged_space
from proxies.band.band import Band
from proxies.band.enumerated import ListedBand
from proxies.cost import Budget

Row = NDArray[np.int64]


@cache
def mini() -> Problem:
    """63,504 members, about half of them in the band."""
    return mini_problem(0, ("macs", "latency"))


@cache
def mini_band() -> ListedBand:
    return ListedBand(mini().space, mini().cost, mini().budget)


@cache
def small_band() -> ListedBand:
    """Some dozens of members."""
    space = staged_space(stages=1, widths=2, depths=2, mixers=4, ratios=2)
    return ListedBand(space, staged_cost(space, np.random.default_rng(0)), Budget({"macs": 80_000_000}, floor=0.4))


def size_of(band: Band) -> int:
    return band.count_bounds[0]


def distinct(rows: list[Row]) -> set[bytes]:
    return {row.tobytes() for row in rows}
