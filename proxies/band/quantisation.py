"""The costs of a space's sections in cells of a grid, so that sums of costs can be counted by cell.

Every cost is rounded down to cells; the *slack* is the most that the roundings of one member can sum up to. The band widened by the slack
includes all members of the true band and few others. Where the unit of every axis divides all costs, there is no slack.

Costs are counted from the least that the space's sections can cost, so that the grid resolves what is left to choose: a limit just above
the least gets finer cells. A limit that every member keeps needs no axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxies.band.additive_cost import Costs
from proxies.band.factorisation import Section, State, Table

Cells = tuple[int, ...]
Box = tuple[Cells, Cells]
"""The least and the greatest cells, inclusive."""


@dataclass(frozen=True, eq=False)
class Step:
    """A choice in cells; choices with equal tables have one step.

    Args:
        options: indices of the options that a member of the band may have.
        cells: what each of these costs.
        distinct: the distinct ones of these, and how many options cost them.
        most: the greatest of these, (axes,).
        error: the most that rounding takes away, (axes,).
    """

    options: list[int]
    cells: list[Cells]
    distinct: list[tuple[list[int], int]]
    most: Cells
    error: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class QuantisedState:
    """A section's state in cells."""

    state: State
    base: Cells
    steps: tuple[Step, ...]


class Grid:
    """The cells of a space's sections.

    Args:
        lower, upper: inclusive bounds on costs, (quantities,); `lower` may be 0.
        most: the greatest costs of any member, (quantities,).
        resolutions: by number of axes, the most cells that each may have; the last entries serve more axes too.

    Attributes:
        units: the width of a cell, (axes,).
        sections: by section, its states.
        widened: the cells that a member of the band may have.
        sure: cells that only members of the band have.
        is_exact: whether there is no slack.
    """

    def __init__(
        self, sections: Sequence[Section], lower: Costs, upper: Costs, most: Costs, resolutions: Sequence[Sequence[int]]
    ) -> None:
        bases = [np.array([state.base for state in section.states]) for section in sections]
        leasts = [base.min(axis=0) for base in bases]
        tables = list(dict.fromkeys(choice.table for section in sections for state in section.states for choice in state.choices))
        self._axes = [axis for axis in range(len(upper)) if axis == 0 or upper[axis] < most[axis]]
        lower, upper = (bound[self._axes] - np.sum(leasts, axis=0)[self._axes] for bound in (lower, np.minimum(upper, most)))
        differences = [base - least for base, least in zip(bases, leasts, strict=True)] + [table.extras for table in tables]
        divisors = np.maximum(np.gcd.reduce(np.concatenate(differences))[self._axes], 1)
        sizes = resolutions[min(len(self._axes), len(resolutions)) - 1]
        num_cells = np.array([sizes[min(i, len(sizes) - 1)] for i in range(len(self._axes))])
        self.units = divisors * np.maximum(-(-(upper + 1) // (divisors * num_cells)), 1)
        steps = {table: self._step(table, upper) for table in tables}
        self.sections: list[list[QuantisedState]] = []
        slack = np.zeros_like(self.units)
        for section, least in zip(sections, leasts, strict=True):
            states, errors = [], []
            for state in section.states:
                own = tuple(steps[choice.table] for choice in state.choices)
                cells, rest = np.divmod((state.base - least)[self._axes], self.units)
                states.append(QuantisedState(state, tuple(cells.tolist()), own))
                errors.append(rest + sum(step.error for step in own))
            self.sections.append(states)
            slack += np.max(errors, axis=0)
        self.is_exact = not slack.any()
        self.widened = self._box(lower - slack, upper)
        self.sure = self._box(lower, upper - slack)

    def _step(self, table: Table, upper: Costs) -> Step:
        extras = table.extras[:, self._axes]
        options = np.flatnonzero((extras <= upper).all(axis=1))
        cells, rest = np.divmod(extras[options], self.units)
        distinct, times = np.unique(cells, axis=0, return_counts=True)
        return Step(
            options.tolist(),
            list(map(tuple, cells.tolist())),
            list(zip(distinct.tolist(), times.tolist(), strict=True)),
            tuple(cells.max(axis=0, initial=0).tolist()),
            rest.max(axis=0, initial=0),
        )

    def _box(self, lower: Costs, upper: Costs) -> Box:
        return tuple(np.maximum(-(-lower // self.units), 0).tolist()), tuple((upper // self.units).tolist())
