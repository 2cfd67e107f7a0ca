"""Intervals of figures over several networks and seeds, where all networks were trained with the same seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from supernet.intervals import in_points, student_quantile

Group = NDArray[np.float64]
"""Figures of networks that are alike, (networks, seeds)."""
Statistic = Callable[[Sequence[Group]], float]
RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A figure of several networks.

    Args:
        interval: of 95 %; None where a group is one network with one seed, which shows no spread.
    """

    value: float
    interval: tuple[float, float] | None = None

    @property
    def in_points(self) -> str:
        """Of a difference of shares."""
        return in_points(self.value, self.interval)

    @property
    def sign(self) -> int:
        """1 or -1 where the interval excludes zero; 0 where it does not, or there is none."""
        if self.interval is None:
            return 0
        low, high = self.interval
        return 1 if low > 0 else -1 if high < 0 else 0


def estimated(statistic: Statistic, groups: Sequence[Group]) -> Estimate:
    """A statistic of groups of networks, with its interval over seeds and networks.

    Seeds are drawn for all groups together, since the same seed means the same order of images: figures are paired. The networks of each
    group are drawn apart. Each of these is a bootstrap of its own that draws n - 1 of n with replacement, so that the variance of a mean
    has no bias for small n (https://doi.org/10.1080/01621459.1988.10478591). The variances add up. The interval is Student's, with the
    degrees of freedom of such a sum (https://doi.org/10.2307/3002019). For one network in each of two groups it is that of the paired
    differences. With one seed, each group needs several networks: their spread includes that of seeds.

    Args:
        groups: with the same seeds each.
    """
    value = statistic(groups)
    if any(group.shape == (1, 1) for group in groups):
        return Estimate(value)
    variances, freedoms = [], []
    for number, (size, resampled) in enumerate(_dimensions(groups)):
        rng = np.random.default_rng([0, number])
        drawn = [statistic(resampled(rng.integers(size, size=size - 1))) for _ in range(RESAMPLES)]
        variances.append(float(np.var(drawn)))
        freedoms.append(size - 1)
    total = math.fsum(variances)
    if not total:
        return Estimate(value, (value, value))
    freedom = total**2 / math.fsum(one**2 / free for one, free in zip(variances, freedoms, strict=True))
    half_width = student_quantile(freedom) * math.sqrt(total)
    return Estimate(value, (value - half_width, value + half_width))


def _dimensions(groups: Sequence[Group]) -> Iterator[tuple[int, Callable[[NDArray[np.int64]], list[Group]]]]:
    """What varies: how many there are of it, and the groups with some of them."""
    seeds = groups[0].shape[1]
    if seeds > 1:
        yield seeds, lambda some: [group[:, some] for group in groups]
    for place, group in enumerate(groups):
        if len(group) > 1:
            yield len(group), partial(_with_some_of, groups, place)


def _with_some_of(groups: Sequence[Group], place: int, some: NDArray[np.int64]) -> list[Group]:
    return [*groups[:place], groups[place][some], *groups[place + 1 :]]


def lead(groups: Sequence[Group]) -> float:
    """By how much the mean of the first group exceeds that of the second."""
    return float(groups[0].mean() - groups[1].mean())


def relative_improvement(groups: Sequence[Group]) -> float:
    """The mean of the first group over that of the second, less one: RI of https://arxiv.org/abs/1912.12522, as a share."""
    return float(groups[0].mean() / groups[1].mean() - 1)
