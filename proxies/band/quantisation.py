"""The costs of a space's sections in cells of a grid, so that sums of costs can be counted by cell.

Every cost is rounded down to cells; what the sum of all roundings can be at most is the *slack*. Whoever is inside a band by
its cells and the slack includes all members of the true band and few others. Where the unit of every axis divides all
costs, the slack is zero and cells tell the truth.

Costs are counted from the least that the space's sections can cost, so that the grid resolves what is left to choose:
a limit just above the least gets finer cells. A limit that every member keeps needs no axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxies.band.factorisation import Amounts, Sections, State, Table

Cells = tuple[int, ...]

@dataclass(frozen=True)
class Axis:
    """One limited quantity: its place among the limits, inclusive bounds on what exceeds the least, and the width of a cell."""

    place: int
    lower: int
    upper: int
    unit: int


@dataclass(frozen=True, eq=False)
class Step:
    """The choice of one group's option, in cells. Groups with equal tables have one step.

    Args:
        cells: the distinct cells that options cost, those left out that cost too much for the band.
        times: how many options cost these.
        order: options by cell; `starts` tells where a cell's begin.
        error: the most that rounding takes away, an axis.
        most: the greatest cells, an axis.
    """

    cells: list[Cells]
    times: list[int]
    order: list[int]
    starts: list[int]
    error: Cells
    most: Cells


Steps = tuple[Step, ...]


@dataclass(frozen=True, eq=False)
class Stride:
    """A section's state in cells."""

    state: State
    base: Cells
    steps: Steps


class Grid:
    """The cells of a space's sections.

    Args:
        lower, upper: inclusive bounds on costs, by quantity of the sections; `lower` may be 0.
        most: the greatest that a member costs, by quantity.
        max_cells: by number of axes, how many cells each may have; the greatest entry serves more axes too.
    """

    def __init__(self, sections: Sections, lower: Amounts, upper: Amounts, most: Amounts, max_cells: Sequence[Sequence[int]]) -> None:
        self.sections = sections
        self._least = np.sum(sections.least_bases, axis=0)
        binding = [place for place in range(len(lower)) if place == 0 or upper[place] < most[place]]
        sizes = max_cells[min(len(binding), len(max_cells)) - 1]
        self.axes = tuple(
            self._axis(place, int(lower[place]), int(min(upper[place], most[place])), sizes[min(d, len(sizes) - 1)])
            for d, place in enumerate(binding)
        )
        self._places = [axis.place for axis in self.axes]
        self._units = np.array([axis.unit for axis in self.axes], dtype=np.int64)
        self._steps: dict[Table, Step] = {}
        self._errors: list[list[NDArray[np.int64]]] = [[] for _ in sections.columns]
        self.strides = [
            {inherited: [self._stride(i, state) for state in states] for inherited, states in section.items()}
            for i, section in enumerate(sections.states)
        ]
        self.slack: Cells = tuple(sum(np.max(errors, axis=0) for errors in self._errors).tolist())

    @property
    def is_exact(self) -> bool:
        """Whether rounding changes no cost."""
        return not any(self.slack)

    @property
    def widened(self) -> tuple[Cells, Cells]:
        """The least and the greatest cells that a member of the band may have."""
        least = tuple(max(-(-(axis.lower - slack) // axis.unit), 0) for axis, slack in zip(self.axes, self.slack, strict=True))
        return least, tuple(axis.upper // axis.unit for axis in self.axes)

    @property
    def sure(self) -> tuple[Cells, Cells]:
        """The least and the greatest cells that only members of the band have."""
        least = tuple(max(-(-axis.lower // axis.unit), 0) for axis in self.axes)
        return least, tuple((axis.upper - slack) // axis.unit for axis, slack in zip(self.axes, self.slack, strict=True))

    def _axis(self, place: int, lower: int, upper: int, max_cells: int) -> Axis:
        """The greatest unit that divides all costs, or a multiple of it so coarse that there are few enough cells."""
        least = int(self._least[place])
        shared = self.sections.shared[place] or 1
        unit = shared * max(1, -(-(upper - least + 1) // (shared * max_cells)))
        return Axis(place, lower - least, upper - least, unit)

    def _stride(self, i: int, state: State) -> Stride:
        base = (state.base - self.sections.least_bases[i])[self._places]
        cells = base // self._units
        steps = tuple(self._step(pick.table) for pick in state.picks)
        self._errors[i].append(base - cells * self._units + sum(np.array(step.error) for step in steps))
        return Stride(state, tuple(cells.tolist()), steps)

    def _step(self, table: Table) -> Step:
        if table not in self._steps:
            extras = table.extras[:, self._places]
            # An option that costs more than any member may is none.
            fitting = np.flatnonzero((extras <= [axis.upper for axis in self.axes]).all(axis=1))
            extras = extras[fitting]
            all_cells = extras // self._units
            cells, inverse, times = np.unique(all_cells, axis=0, return_inverse=True, return_counts=True)
            self._steps[table] = Step(
                cells=list(map(tuple, cells.tolist())),
                times=times.tolist(),
                order=fitting[np.argsort(inverse.ravel(), kind="stable")].tolist(),
                starts=[0, *np.cumsum(times).tolist()],
                error=tuple((extras - all_cells * self._units).max(axis=0, initial=0).tolist()),
                most=tuple(cells.max(axis=0, initial=0).tolist()),
            )
        return self._steps[table]
