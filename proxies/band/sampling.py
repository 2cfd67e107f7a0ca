"""Even draws among the members of a grid's widened band, shape by shape, and a list of them all."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxies.band.counts import Counts, Halves, Link, Node, TooMuchWork, Ways, added, less
from proxies.band.factorisation import State, Values
from proxies.band.quantisation import Cells, Grid, Step, Steps

Row = NDArray[np.int64]
Chosen = tuple[int, State, list[int]]
"""A section, the state that it is in, and an option of every group."""

MAX_SHAPES = 200_000
"""Shapes that are told apart."""
MAX_ENTRIES = 4e7
"""Entries of the tables that are kept, to fit the memory."""


class Draws:
    """Tables from which members of the widened band are drawn, each of a shape's with the same probability.

    Attributes:
        ways: by shape, the number of members, to the precision of a float; shapes without any are left out.
        sure: the same of the true band, counted too low.
        is_exact: whether the widened band is the true one.

    Raises TooMuchWork where the grid is too fine for it.
    """

    def __init__(self, grid: Grid, max_work: float) -> None:
        self.is_exact = grid.is_exact
        self._columns = grid.sections.columns
        self._num_slots = len(grid.sections.rows.names)
        self._band = grid.widened
        self._halves = Halves(grid, by_shape=True, max_work=max_work)
        self._ladders: dict[Steps, tuple[_Rung, ...]] = {}
        self._choices_of: dict[Link, tuple[list[Ways], list[tuple[_Rung, ...]]]] = {}
        self._starts = lru_cache(maxsize=4096)(_row_sums)
        self.ways: dict[Values, float] = {}
        self.sure: dict[Values, float] = {}
        self._meetings: dict[Values, list[_Meeting]] = {}
        self._meet(grid)

    def draw(self, shape: Values, rng: random.Random) -> Row:
        """Draw one of the members of a shape that has some, as a canonical row."""
        meetings = self._meetings[shape]
        meeting = meetings[0] if len(meetings) == 1 else meetings[_pick(np.cumsum([one.ways for one in meetings]), rng)]
        first = meeting.first.ways
        row = _pick(self._starts(meeting), rng)
        spent = added(first.origin, (row, *_pick_cell(meeting.products(row), rng)))
        values = [0] * self._num_slots
        for node, cells in ((meeting.first, spent), (meeting.last.node, meeting.last.pick(spent, self._band, rng))):
            for section, state, picked in self._unrolled(node, cells, rng):
                _fill(values, self._columns[section], state, picked)
        return np.array(values, dtype=np.int64)

    def members(self, shape: Values) -> Iterator[Row]:
        """All members of a shape."""
        for meeting in self._meetings[shape]:
            for place in np.argwhere(meeting.weights).tolist():
                spent = added(meeting.first.ways.origin, place)
                for left in meeting.last.all(spent, self._band):
                    tails = list(self._members(meeting.last.node, left))
                    for head in self._members(meeting.first, spent):
                        for tail in tails:
                            values = [0] * self._num_slots
                            for section, state, picked in (*head, *tail):
                                _fill(values, self._columns[section], state, picked)
                            yield np.array(values, dtype=np.int64)

    def _meet(self, grid: Grid) -> None:
        """Find out which halves meet in the band, and in how many ways."""
        halves = self._halves
        if sum(len(firsts) * len(halves.lasts.get(handed, {})) for handed, firsts in halves.firsts.items()) > MAX_SHAPES:
            raise TooMuchWork
        entries = 0
        for handed, firsts in halves.firsts.items():
            origins = [node.ways.origin for node in firsts.values()]
            ends = [added(node.ways.origin, node.ways.counts.shape) for node in firsts.values()]
            box = tuple(map(min, zip(*origins, strict=True))), tuple(map(max, zip(*ends, strict=True)))
            size = math.prod(less(box[1], box[0]))
            entries += size * len(firsts)
            if entries > MAX_ENTRIES:
                raise TooMuchWork
            spread = np.zeros((len(firsts), *less(box[1], box[0])))
            for counts, node in zip(spread, firsts.values(), strict=True):
                counts[_within(node.ways, box[0])] = node.ways.counts
            spread = spread.reshape(len(firsts), size)
            for shape, node in halves.lasts.get(handed, {}).items():
                before = halves.before(node.ways, box, self._band)
                entries += before.size + 2 * node.ways.counts.size
                if entries > MAX_ENTRIES:
                    raise TooMuchWork
                last = _Last(node)
                sure = spread @ halves.before(node.ways, box, grid.sure).ravel() if not self.is_exact else spread @ before.ravel()
                for (start, first), ways, least in zip(firsts.items(), (spread @ before.ravel()).tolist(), sure.tolist(), strict=True):
                    if ways:
                        whole = start + shape
                        self.ways[whole] = self.ways.get(whole, 0.0) + ways
                        self.sure[whole] = self.sure.get(whole, 0.0) + least
                        self._meetings.setdefault(whole, []).append(_Meeting(first, last, before[_within(first.ways, box[0])], ways))

    def _unrolled(self, node: Node, cells: Cells, rng: random.Random) -> Iterator[Chosen]:
        """Draw what the sections of a node are, such that they cost these cells."""
        while node.joints:
            link, rest = node.joints[0]
            own = cells
            if len(node.joints) > 1 or rest.joints:
                many = [link.ways.together(rest.ways, cells) for link, rest in node.joints]
                place = 0 if len(many) == 1 else _pick(np.cumsum([products.sum() for _, products in many]), rng)
                (link, rest), (low, products) = node.joints[place], many[place]
                own = added(low, _pick_cell(products, rng))
            yield self._filled(link, own, rng)
            cells, node = less(cells, own), rest

    def _filled(self, link: Link, cells: Cells, rng: random.Random) -> Chosen:
        """Draw a section's state, and an option of every group."""
        ways, ladders = self._choices(link)
        place = _pick(np.cumsum([one.at(cells) for one in ways]), rng) if len(ways) > 1 else 0
        stride = link.strides[place]
        left = less(cells, stride.base)
        picked = []
        for rung in ladders[place]:
            place = _pick(rung.weights(left).cumsum(), rng)
            step = rung.step
            picked.append(step.order[step.starts[place] + int(rng.random() * step.times[place])])
            left = less(left, step.cells[place])
        return link.section, stride.state, picked[::-1]

    def _members(self, node: Node, cells: Cells) -> Iterator[tuple[Chosen, ...]]:
        """All that `_unrolled` may give."""
        if not node.joints:
            yield ()
        for link, rest in node.joints:
            low, products = link.ways.together(rest.ways, cells)
            for place in np.argwhere(products).tolist():
                own = added(low, place)
                for others in self._members(rest, less(cells, own)):
                    for stride in link.strides:
                        for picked in self._all_options(self._ladder(stride.steps), less(own, stride.base)):
                            yield ((link.section, stride.state, picked), *others)

    def _all_options(self, ladder: tuple[_Rung, ...], cells: Cells) -> Iterator[list[int]]:
        if not ladder:
            if not any(cells):
                yield []
            return
        rung, *lower = ladder
        if not rung.covers(cells):
            return
        step = rung.step
        for place in np.flatnonzero(rung.weights(cells)).tolist():
            for option in step.order[step.starts[place] : step.starts[place + 1]]:
                for picked in self._all_options(tuple(lower), less(cells, step.cells[place])):
                    yield [*picked, option]

    def _choices(self, link: Link) -> tuple[list[Ways], list[tuple[_Rung, ...]]]:
        """By state, in how many ways it costs what, and how to choose its options."""
        if link not in self._choices_of:
            ways = [Ways(stride.base, self._halves.sums(stride.steps)) for stride in link.strides]
            self._choices_of[link] = ways, [self._ladder(stride.steps) for stride in link.strides]
        return self._choices_of[link]

    def _ladder(self, steps: Steps) -> tuple[_Rung, ...]:
        """How to choose the options of some steps, the last step's first."""
        if steps not in self._ladders:
            self._ladders[steps] = (_Rung(steps[-1], self._halves.sums(steps[:-1])), *self._ladder(steps[:-1])) if steps else ()
        return self._ladders[steps]


@dataclass(frozen=True, eq=False)
class _Last:
    """A last half."""

    node: Node

    @cached_property
    def _up_to(self) -> Counts:
        """Counts by the first axis' cells of what is at most some cells in all others."""
        counts = self.node.ways.counts
        for axis in range(1, counts.ndim):
            counts = counts.cumsum(axis=axis)
        return counts

    def pick(self, spent: Cells, band: tuple[Cells, Cells], rng: random.Random) -> Cells:
        """Draw what the half costs, such that it leads into the band after what is spent."""
        rows, others = self._room(spent, band)
        row = rows.start + _pick(self._up_to[(rows, *(part.stop - 1 for part in others))].cumsum(), rng)
        return added(self.node.ways.origin, (row, *_pick_cell(self.node.ways.counts[row][others], rng)))

    def all(self, spent: Cells, band: tuple[Cells, Cells]) -> Iterator[Cells]:
        """All that `pick` may give."""
        rows, others = self._room(spent, band)
        for row, *place in np.argwhere(self.node.ways.counts[(rows, *others)]).tolist():
            yield added(self.node.ways.origin, (rows.start + row, *place))

    def _room(self, spent: Cells, band: tuple[Cells, Cells]) -> tuple[slice, tuple[slice, ...]]:
        """Where counts lead into the band."""
        ways = self.node.ways
        ends = [
            min(most - cell - first + 1, size)
            for most, cell, first, size in zip(band[1], spent, ways.origin, ways.counts.shape, strict=True)
        ]
        return slice(max(band[0][0] - spent[0] - ways.origin[0], 0), ends[0]), tuple(map(slice, ends[1:]))


@dataclass(frozen=True, eq=False)
class _Meeting:
    """A first and a last half that lead into the band; `before` by what the first one costs."""

    first: Node
    last: _Last
    before: Counts
    ways: float

    @property
    def weights(self) -> Counts:
        """The ways into the band by what the first half costs."""
        return self.first.ways.counts * self.before

    def products(self, row: int) -> Counts:
        """The same for one cell of the first axis."""
        return self.first.ways.counts[row] * self.before[row]


class _Rung:
    """The choice of one step's option where some cells are left for it and the fewer steps behind it."""

    def __init__(self, step: Step, fewer: Counts) -> None:
        self.step = step
        self._shape = fewer.shape
        # With zeros around, one look-up tells what is left for the fewer steps, also where that is too little or too much.
        padded = np.pad(fewer, [(most, most) for most in step.most])
        self._padded = padded.ravel()
        self._strides = [stride // padded.itemsize for stride in padded.strides]
        self._origin = sum(map(int.__mul__, step.most, self._strides))
        self._offsets = self._origin - np.array(step.cells, dtype=np.int64).reshape(-1, fewer.ndim) @ np.array(self._strides)
        self._times = np.array(step.times, dtype=float)

    def covers(self, cells: Cells) -> bool:
        """Whether the steps can cost these cells, by and large."""
        return all(0 <= cell < size + most for cell, size, most in zip(cells, self._shape, self.step.most, strict=True))

    def weights(self, cells: Cells) -> NDArray[np.float64]:
        """The ways by the step's distinct cells."""
        return self._padded.take(self._offsets + sum(map(int.__mul__, cells, self._strides))) * self._times


def _row_sums(meeting: _Meeting) -> NDArray[np.float64]:
    """The running sum of a meeting's ways by the first axis' cells."""
    first, before = meeting.first.ways.counts, meeting.before
    return np.einsum("ij,ij->i", first.reshape(len(first), -1), before.reshape(len(first), -1)).cumsum()


def _within(ways: Ways, origin: Cells) -> tuple[slice, ...]:
    """Where some ways' entries lie in an array that begins at other cells."""
    return tuple(
        slice(first - start, first - start + size) for first, start, size in zip(ways.origin, origin, ways.counts.shape, strict=True)
    )


def _fill(values: list[int], columns: list[int], state: State, picked: list[int]) -> None:
    for column, value in zip(columns, state.values, strict=True):
        values[column] = max(value, 0)
    for pick, option in zip(state.picks, picked, strict=True):
        for column, value in zip(pick.columns, pick.options[option], strict=True):
            values[column] = value


def _pick(sums: NDArray[np.float64], rng: random.Random) -> int:
    """An index with a probability in proportion to its weight, from the running sum of weights; never one without weight."""
    total = sums[-1]
    place = int(sums.searchsorted(rng.random() * total, side="right"))
    # The product may round up to the sum of all.
    return place if place < len(sums) else int(sums.searchsorted(total))


def _pick_cell(weights: NDArray[Any], rng: random.Random) -> Cells:
    """The same for an array of weights, axis by axis; nothing for one of no dimension."""
    place: list[int] = []
    while weights.ndim:
        sums = weights.reshape(len(weights), -1).sum(axis=1) if weights.ndim > 1 else weights
        place.append(_pick(sums.cumsum(), rng))
        weights = weights[place[-1]]
    return tuple(place)
