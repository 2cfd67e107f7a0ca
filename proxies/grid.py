"""Counting on a grid, by dynamic programming over stages and blocks.

Every cost is rounded to cells of a grid; sums of rounded costs lie within a known distance, the slack, of the true
ones. Members of the band, widened by the slack, thus include all members of the true band and few others. Where the
grid's unit divides all costs, the slack is zero and counts are those of the true band.

Arrays of counts are indexed by cells spent so far, one dimension a limited cost, and tell in how many ways what is
still to be chosen leads into the band.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxies.cost import Budget, Cost
from proxies.space_costs import SpaceCosts

Cells = tuple[int, ...]
Extras = tuple[Cells, ...]
"""By kind of block, what it costs beyond the base."""
Counts = NDArray[Any]


@dataclass(frozen=True)
class Axis:
    """One limited cost: a field of `Cost`, inclusive bounds on its sum, and the width of a cell."""

    quantity: str
    lower: int
    upper: int
    unit: int

    def cells_of(self, cost: Cost) -> int:
        """A cost in cells, rounded to the nearest."""
        return (getattr(cost, self.quantity) + self.unit // 2) // self.unit

    def error_of(self, cost: Cost) -> int:
        """Distance between a cost and its cells."""
        return abs(getattr(cost, self.quantity) - self.cells_of(cost) * self.unit)


def axes_of(costs: SpaceCosts, budget: Budget, max_cells: Cells) -> tuple[Axis, ...]:
    """The axes of a budget: the greatest unit that divides all costs, or one so coarse that there are few enough cells."""
    axes = []
    for (quantity, limit), most in zip(budget.limits.items(), max_cells, strict=True):
        shared = math.gcd(*(getattr(cost, quantity) for cost in costs.all_costs))
        unit = shared * max(1, -(-limit // (max(shared, 1) * most))) or 1
        axes.append(Axis(quantity, budget.least if quantity == budget.primary else 0, limit, unit))
    return tuple(axes)


class StageCells:
    """One stage's costs in cells. A block costs its feed-forward network's base and its kind's extra."""

    def __init__(self, costs: SpaceCosts, index: int, axes: tuple[Axis, ...]) -> None:
        self._axes = axes
        self.depths = costs.space.stages[index].depths
        self.entry = {widths: _cells(cost, axes) for widths, cost in costs.entry[index].items()}
        self._bases = costs.bases[index]
        self.extras = {
            key: tuple(_cells(extra, axes) for extra in extras) for key, extras in costs.extras[index].items()
        }
        self._errors = [
            max(axis.error_of(cost) for cost in costs.entry[index].values()) + self._block_error(axis, costs.extras[index]) for axis in axes
        ]

    @property
    def error(self) -> tuple[int, ...]:
        """The most that rounding changes a sum over the stage, an axis."""
        return tuple(self._errors)

    def base(self, width: int, ffn: int, depth: int) -> Cells:
        """What `depth` blocks of this width and feed-forward network cost at the least."""
        return _cells(self._bases[width, ffn].times(depth), self._axes)

    def ffns(self, width: int) -> dict[Extras, list[int]]:
        """The feed-forward networks of a width, grouped by their kinds' extras."""
        groups: dict[Extras, list[int]] = {}
        for (w, ffn), extras in self.extras.items():
            if w == width:
                groups.setdefault(extras, []).append(ffn)
        return groups

    def prepend(self, width: int, after: Counts, modulus: int | None = None) -> Iterator[tuple[int, Counts]]:
        """Put this stage's blocks before what is counted in `after`: counts by depth, modulo a number where one is given."""
        groups = self.ffns(width)
        grown = dict.fromkeys(groups, after)
        for depth in range(1, self.depths[-1] + 1):
            for extras in groups:
                grown[extras] = sum_ahead(grown[extras], Counter(extras), modulus)
            if depth in self.depths:
                yield depth, self._with_bases(width, depth, grown, modulus)

    def _with_bases(self, width: int, depth: int, grown: dict[Extras, Counts], modulus: int | None) -> Counts:
        """Sum over the feed-forward networks."""
        total = np.zeros_like(next(iter(grown.values())))
        for extras, ffns in self.ffns(width).items():
            total += sum_ahead(grown[extras], Counter(self.base(width, ffn, depth) for ffn in ffns), modulus)
        return total % modulus if modulus else total

    def _block_error(self, axis: Axis, extras: dict[tuple[int, int], list[Cost]]) -> int:
        return max(
            axis.error_of(self._bases[key].times(depth)) + depth * max(axis.error_of(extra) for extra in extras[key])
            for key in extras
            for depth in self.depths
        )


class Grid:
    """A space's costs and a budget's band in cells."""

    def __init__(self, costs: SpaceCosts, axes: tuple[Axis, ...]) -> None:
        self.axes = axes
        self.stages = [StageCells(costs, i, axes) for i in range(len(costs.kinds))]
        self.exits = {width: _cells(cost, axes) for width, cost in costs.exits.items()}
        exit_error = [max(axis.error_of(cost) for cost in costs.exits.values()) for axis in axes]
        errors = [sum(parts) for parts in zip(exit_error, *(stage.error for stage in self.stages), strict=True)]
        self.slack = tuple(-(-error // axis.unit) for error, axis in zip(errors, axes, strict=True))
        self.shape = tuple(axis.upper // axis.unit + slack + 1 for axis, slack in zip(axes, self.slack, strict=True))

    @property
    def is_exact(self) -> bool:
        """Whether rounding changes no cost."""
        return not any(self.slack)

    @cached_property
    def widened_band(self) -> Counts:
        """One where a rounded sum may belong to a member of the band, zero where it cannot."""
        return self._band(1)

    @cached_property
    def sure_band(self) -> Counts:
        """One where a rounded sum can only belong to a member of the band."""
        return self._band(-1)

    def _band(self, sign: int) -> Counts:
        band = np.ones(self.shape)
        for dimension, (axis, slack) in enumerate(zip(self.axes, self.slack, strict=True)):
            cells = np.arange(self.shape[dimension])
            lower = -(-axis.lower // axis.unit) - sign * slack if axis.lower else 0
            inside = (cells >= lower) & (cells <= axis.upper // axis.unit + sign * slack)
            band *= inside.reshape([-1 if d == dimension else 1 for d in range(len(self.axes))])
        return band


def ahead(counts: Counts, cells: Cells) -> Counts:
    """A view of the counts behind having spent `cells` more; shorter by what lies outside, where there are none."""
    return counts[tuple(slice(cell, None) for cell in cells)]


def sum_ahead(counts: Counts, ways: Counter[Cells], modulus: int | None = None) -> Counts:
    """The counts before choosing one of several amounts, each so many times; modulo a number where one is given."""
    total = np.zeros_like(counts)
    for cells, times in ways.items():
        view = ahead(counts, cells)
        total[tuple(slice(None, size) for size in view.shape)] += view if times == 1 else view * times
    if modulus:
        total %= modulus
    return total


def _cells(cost: Cost, axes: tuple[Axis, ...]) -> Cells:
    return tuple(axis.cells_of(cost) for axis in axes)
