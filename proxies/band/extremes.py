"""What a space reaches: its extreme costs, and the cost nearest to a band that holds none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proxies.band.factorisation import Amounts, Sections, Table, Values
from proxies.cost import Budget

MAX_POINTS = 1024
"""Costs kept by `nearest`; a space with fewer distinct sums is searched in full."""


def extreme(sections: Sections, place: int, sign: int) -> Amounts:
    """The costs of the member that costs least (`sign` 1) or most (-1) of one quantity, by quantity."""
    so_far: dict[Values, Amounts] = {(): np.zeros_like(sections.least_bases[0])}
    best_of: dict[Table, Amounts] = {}
    for section in sections.states:
        found: dict[Values, list[Amounts]] = {}
        for inherited, states in section.items():
            for state in states:
                costs = so_far[inherited] + state.base
                for pick in state.picks:
                    if pick.table not in best_of:
                        best_of[pick.table] = pick.table.extras[np.argmin(sign * pick.table.extras[:, place])]
                    costs = costs + best_of[pick.table]
                found.setdefault(state.bequest, []).append(costs)
        so_far = {bequest: min(many, key=lambda costs: sign * int(costs[place])) for bequest, many in found.items()}
    return so_far[()]


def nearest(sections: Sections, budget: Budget) -> Amounts:
    """The costs of a member nearest to a band, (limits,); exact for small spaces, a near one for others."""
    points = some_costs(sections, MAX_POINTS)
    return points[int(np.argmin(excess(budget, points)))]


def excess(budget: Budget, costs: Amounts) -> NDArray[np.float64]:
    """How far costs (n, limits) lie outside, (n,): `Budget.excess` of many at once."""
    limits = np.array(list(budget.limits.values()))
    return np.maximum(((costs - limits) / limits).max(axis=1), (budget.least - costs[:, 0]) / limits[0])


def some_costs(sections: Sections, max_points: int) -> Amounts:
    """Costs of members, (points, quantities): all there are of a small space, of others the cheapest in the last quantity.

    Args:
        max_points: how many are kept where a choice is added to the others.
    """
    so_far: dict[Values, Amounts] = {(): np.zeros_like(sections.least_bases[0])[None]}
    for section in sections.states:
        found: dict[Values, list[Amounts]] = {}
        for inherited, states in section.items():
            sums: dict[tuple[Table, ...], Amounts] = {(): so_far[inherited]}
            for state in states:
                tables = tuple(pick.table for pick in state.picks)
                for count in range(1, len(tables) + 1):
                    if tables[:count] not in sums:
                        extras = np.unique(tables[count - 1].extras, axis=0)
                        sums[tables[:count]] = _thinned([sums[tables[:count - 1]] + extra for extra in extras], max_points)
                found.setdefault(state.bequest, []).append(sums[tables] + state.base)
        so_far = {bequest: _thinned(many, max_points) for bequest, many in found.items()}
    return so_far[()]


def _thinned(many: Sequence[Amounts], max_points: int) -> Amounts:
    """Distinct rows; where these are many, only the one least in the last column of each short range of the first."""
    points = np.concatenate(many)
    points = points[np.lexsort(points.T[::-1])]
    points = points[np.concatenate([[True], (points[1:] != points[:-1]).any(axis=1)])]
    if len(points) <= max_points:
        return points
    low, high = int(points[0, 0]), int(points[-1, 0])
    cells = ((points[:, 0] - low) / (high - low + 1) * max_points).astype(np.int64)
    order = np.lexsort((points[:, -1], cells))
    return points[order[np.unique(cells[order], return_index=True)[1]]]
