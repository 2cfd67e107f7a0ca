"""Even draws among the members of a grid's widened band, shape by shape, and a list of them all."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxies.grid import Cells, Grid, Steps
from proxies.sections import State, Values
from proxies.ways import Counter, Node

Row = NDArray[np.int64]


class Draws:
    """Tables from which members of the widened band are drawn, each of a shape's with the same probability.

    Attributes:
        ways: by shape, the number of members, to the precision of a float; shapes without any are left out.
        is_exact: whether the widened band is the true one.

    Raises TooMuchWork where the grid is too fine for it.
    """

    def __init__(self, grid: Grid, max_work: float) -> None:
        self.is_exact = grid.is_exact
        self._columns = grid.sections.columns
        self._num_slots = len(grid.sections.rows.names)
        self._nothing: Cells = (0,) * len(grid.axes)
        counter = Counter(grid, grid.widened, max_work=max_work)
        self._roots = counter.roots()
        self._sums = counter.sums
        self.work = counter.work
        self.ways = {shape: float(node.ways.at(self._nothing)) for shape, node in self._roots.items()}
        self._weights = lru_cache(maxsize=2**16)(self._weigh)

    def draw(self, shape: Values, rng: random.Random) -> Row:
        """Draw one of the members of a shape that has some, as a canonical row."""
        values = [0] * self._num_slots
        node, spent = self._roots[shape], self._nothing
        for columns in self._columns:
            branch = node.branches[self._pick_branch(node, spent, rng) if len(node.branches) > 1 else 0]
            spent = _added(spent, branch.stride.base)
            steps = branch.stride.steps
            picked: list[int] = []
            if steps:
                low, products = branch.following.ways.overlap(self._sums(steps), spent)
                cells = _added(low, _pick_cell(products, rng))
                spent = _added(spent, cells)
                picked = self._options(steps, cells, rng)
            _fill(values, columns, branch.stride.state, picked)
            node = branch.following
        return np.array(values, dtype=np.int64)

    def members(self, shape: Values) -> Iterator[Row]:
        """All members of a shape."""
        for chosen in self._members(self._roots[shape], self._nothing):
            values = [0] * self._num_slots
            for columns, (state, picked) in zip(self._columns, chosen, strict=True):
                _fill(values, columns, state, picked)
            yield np.array(values, dtype=np.int64)

    def _pick_branch(self, node: Node, spent: Cells, rng: random.Random) -> int:
        return _pick(list(accumulate(branch.ways.at(_added(spent, branch.stride.base)) for branch in node.branches)), rng)

    def _members(self, node: Node, spent: Cells) -> Iterator[tuple[tuple[State, list[int]], ...]]:
        if not node.branches:
            yield ()
        for branch in node.branches:
            start = _added(spent, branch.stride.base)
            low, products = branch.following.ways.overlap(self._sums(branch.stride.steps), start)
            for place in np.argwhere(products).tolist():
                cells = _added(low, place)
                for rest in self._members(branch.following, _added(start, cells)):
                    for picked in self._all_options(branch.stride.steps, cells):
                        yield ((branch.stride.state, picked), *rest)

    def _options(self, steps: Steps, cells: Cells, rng: random.Random) -> list[int]:
        """Draw an option of every group such that the steps cost these cells."""
        picked: list[int] = []
        while steps:
            step = steps[-1]
            places, sums = self._weights(steps, cells)
            place = places[_pick(sums, rng)]
            start, end = step.starts[place], step.starts[place + 1]
            picked.append(step.order[start + int(rng.random() * (end - start))])
            cells = _less(cells, step.cells[place])
            steps = steps[:-1]
        return picked[::-1]

    def _all_options(self, steps: Steps, cells: Cells) -> Iterator[list[int]]:
        """All that `_options` may return."""
        if not steps:
            yield []
            return
        step = steps[-1]
        for place in self._weights(steps, cells)[0]:
            left = _less(cells, step.cells[place])
            for option in step.order[step.starts[place]:step.starts[place + 1]]:
                for picked in self._all_options(steps[:-1], left):
                    yield [*picked, option]

    def _weigh(self, steps: Steps, cells: Cells) -> tuple[list[int], list[float]]:
        """Which distinct cells of the last step are possible where all steps cost some cells, and the running sum of their ways."""
        fewer, step = self._sums(steps[:-1]), steps[-1]
        left = np.array(cells) - np.array(step.cells)
        places = np.flatnonzero(((left >= 0) & (left < fewer.shape)).all(axis=1))
        ways = np.array(step.times)[places] * fewer[tuple(left[places].T)]
        places, ways = places[ways > 0], ways[ways > 0]
        return places.tolist(), np.cumsum(ways).tolist()


def _fill(values: list[int], columns: list[int], state: State, picked: list[int]) -> None:
    for column, value in zip(columns, state.values, strict=True):
        values[column] = max(value, 0)
    for pick, option in zip(state.picks, picked, strict=True):
        for column, value in zip(pick.columns, pick.options[option], strict=True):
            values[column] = value


def _pick(sums: Sequence[float], rng: random.Random) -> int:
    """An index with a probability in proportion to its weight, from the running sum of weights; never one without weight."""
    place = bisect_right(sums, rng.random() * sums[-1])
    # The product may round up to the sum of all.
    return place if place < len(sums) else bisect_left(sums, sums[-1])


def _pick_cell(weights: NDArray[Any], rng: random.Random) -> Cells:
    """The same for an array."""
    sums = np.cumsum(weights)
    place = int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
    place = place if place < len(sums) else int(np.searchsorted(sums, sums[-1]))
    return tuple(map(int, np.unravel_index(place, weights.shape)))


def _added(a: Cells, b: Sequence[int]) -> Cells:
    return tuple(map(int.__add__, a, b))


def _less(a: Cells, b: Cells) -> Cells:
    return tuple(map(int.__sub__, a, b))
