"""The least and the greatest costs of a space's members, and the cost nearest to a budget that admits none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proxies.band.additive_cost import Costs
from proxies.band.factorisation import Indices, Section, Table
from proxies.cost import Budget

MAX_POINTS = 1024
"""Costs kept by `nearest`; a space with fewer distinct sums is searched in full."""


def nearest(sections: Sequence[Section], budget: Budget) -> Costs:
    """The costs of a member nearest to a band, (limits,); exact for small spaces, a near one for others."""
    points = some_costs(sections, MAX_POINTS)
    return points[int(np.argmin(excess(budget, points)))]


def excess(budget: Budget, costs: Costs) -> NDArray[np.float64]:
    """How far costs (n, limits) lie outside, (n,): `Budget.excess` of many at once."""
    limits = np.array(list(budget.limits.values()))
    return np.maximum(((costs - limits) / limits).max(axis=1), (budget.least - costs[:, 0]) / limits[0])


def some_costs(sections: Sequence[Section], max_points: int) -> Costs:
    """Costs of members, (points, quantities): all of a small space; of others the extremes of every quantity, and cheap ones between.

    Args:
        max_points: about how many are kept after each choice.
    """
    so_far: dict[Indices, Costs] = {(): np.zeros((1, len(sections[0].states[0].base)), dtype=np.int64)}
    for section in sections:
        sums: dict[tuple[Indices, tuple[Table, ...]], Costs] = {(before, ()): points for before, points in so_far.items()}
        found: defaultdict[Indices, list[Costs]] = defaultdict(list)
        for state in section.states:
            tables = tuple(choice.table for choice in state.choices)
            for count in range(1, len(tables) + 1):
                if (state.before, tables[:count]) not in sums:
                    fewer = sums[state.before, tables[: count - 1]]
                    extras = np.unique(tables[count - 1].extras, axis=0)
                    sums[state.before, tables[:count]] = _thinned([fewer + extra for extra in extras], max_points)
            found[state.after].append(sums[state.before, tables] + state.base)
        so_far = {after: _thinned(many, max_points) for after, many in found.items()}
    return so_far[()]


def _thinned(many: Sequence[Costs], max_points: int) -> Costs:
    """Distinct rows; of many, the extremes of each column, and the least in the last column of each short range of the first."""
    points = np.concatenate(many)
    points = points[np.lexsort(points.T[::-1])]
    points = points[np.concatenate([[True], (points[1:] != points[:-1]).any(axis=1)])]
    if len(points) <= max_points:
        return points
    low, high = int(points[0, 0]), int(points[-1, 0])
    ranges = ((points[:, 0] - low) / (high - low + 1) * max_points).astype(np.int64)
    order = np.lexsort((points[:, -1], ranges))
    cheap = order[np.unique(ranges[order], return_index=True)[1]]
    return points[np.unique([*cheap, *points.argmin(axis=0), *points.argmax(axis=0)])]
