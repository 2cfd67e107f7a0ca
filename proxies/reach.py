"""What a space reaches: its extreme costs, and the cost nearest to a band that holds none."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from proxies.cost import Budget, Cost, format_amount
from proxies.space_costs import SpaceCosts

MAX_POINTS = 1024
"""Costs kept a step of `nearest`; a space with fewer distinct sums is searched in full."""

Points = NDArray[np.int64]


def extreme(costs: SpaceCosts, quantity: str, pick: Callable[..., Cost]) -> Cost:
    """The cost of the member that costs least or most (`pick` is min or max) of one quantity."""

    def best(candidates: Iterable[Cost]) -> Cost:
        return pick(candidates, key=lambda cost: getattr(cost, quantity))

    so_far = {0: Cost(0, 0)}
    for i, stage in enumerate(costs.space.stages):
        blocks = {
            width: best(best(costs.blocks[i][width, ffn]).times(depth) for ffn in range(len(stage.ffns)) for depth in stage.depths)
            for width in range(len(stage.widths))
        }
        so_far = {width: best(so_far[b] + costs.entry[i][b, width] for b in so_far) + cost for width, cost in blocks.items()}
    return best(so_far[width] + cost for width, cost in costs.exits.items())


def nearest(costs: SpaceCosts, budget: Budget) -> str:
    """The reachable cost nearest to a band without members, as text; exact for small spaces, a near one for others."""
    points = _some_costs(costs, budget)
    first, *others = budget.limits
    below = np.maximum(budget.least - points[:, 0], 0)
    above = np.maximum(points[:, 0] - budget.limits[first], 0)
    excess = (below + above) / budget.limits[first]
    for column, quantity in enumerate(others, start=1):
        excess = np.maximum(excess, (points[:, column] - budget.limits[quantity]) / budget.limits[quantity])
    best = points[int(np.argmin(excess))]
    return " with ".join(format_amount(int(amount), quantity) for amount, quantity in zip(best, budget.limits, strict=True))


def _some_costs(costs: SpaceCosts, budget: Budget) -> Points:
    """Costs of members, (points, limits): all there are of a small space, of others the cheapest in the second limit."""
    quantities = list(budget.limits)

    def rows(many: Iterable[Cost]) -> Points:
        return np.array([[getattr(cost, quantity) for quantity in quantities] for cost in many], dtype=np.int64)

    so_far = {0: rows([Cost(0, 0)])}
    for i, stage in enumerate(costs.space.stages):
        grown: dict[int, list[Points]] = {width: [] for width in range(len(stage.widths))}
        for width in grown:
            start = _thinned([points + rows([costs.entry[i][before, width]]) for before, points in so_far.items()])
            for ffn in range(len(stage.ffns)):
                kinds, sums = rows(costs.blocks[i][width, ffn]), start
                for depth in range(1, stage.depths[-1] + 1):
                    sums = _thinned([sums + kind for kind in kinds])
                    if depth in stage.depths:
                        grown[width].append(sums)
        so_far = {width: _thinned(many) for width, many in grown.items()}
    return np.concatenate([points + rows([costs.exits[width]]) for width, points in so_far.items()])


def _thinned(many: list[Points]) -> Points:
    """Distinct rows; where these are many, only the one least in the last column of each short range of the first."""
    points = np.concatenate(many)
    points = points[np.lexsort(points.T[::-1])]
    points = points[np.concatenate([[True], (points[1:] != points[:-1]).any(axis=1)])]
    if len(points) <= MAX_POINTS:
        return points
    low, high = points[0, 0], points[-1, 0]
    cells = (points[:, 0] - low) * MAX_POINTS // (high - low + 1)
    order = np.lexsort((points[:, -1], cells))
    return points[order[np.unique(cells[order], return_index=True)[1]]]
