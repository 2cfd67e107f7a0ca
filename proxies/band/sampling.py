"""Even draws among the members of a grid's widened band, shape by shape, and a list of them all."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxies.band.additive_cost import Row
from proxies.band.counts import Counts, Halves, Link, Node, TooMuchWork
from proxies.band.factorisation import IndependentChoice, Indices, Section
from proxies.band.quantisation import Cells, Grid, Step

Select = Callable[[Counts], Iterable[Cells]]
"""Selects entries of an array of weights: one at random, in proportion to its weight, or all that are not zero."""
Slots = list[tuple[Sequence[int], Sequence[int]]]
"""Columns, and the options that fill them."""

MAX_SHAPES = 200_000
"""Shapes that are counted separately."""
MAX_ENTRIES = 4e7
"""Entries of the tables that are kept, to fit the memory."""


@dataclass(frozen=True, eq=False)
class _Pair:
    """A first and a last half that lead into the band.

    Args:
        completions: the number of last halves that lead into the band, by the cells of the first.
        count: the number of members.
    """

    first: Node
    last: Node
    completions: Counts
    count: float


class ShapeSampler:
    """Draws members of the widened band, each of a shape's with the same probability.

    Attributes:
        counts: the number of members by shape, to the precision of a float; shapes without any are left out.
        sure_counts: the same for the sure part of the band.
        is_exact: whether the widened band is the true one.

    Raises TooMuchWork where the grid is too fine for it.
    """

    def __init__(self, sections: Sequence[Section], num_slots: int, grid: Grid, max_work: float) -> None:
        self.is_exact = grid.is_exact
        self._sections, self._num_slots, self._band = sections, num_slots, grid.widened
        self._halves = Halves(grid, by_shape=True, max_work=max_work)
        self._row_sums = lru_cache(maxsize=4096)(_row_sums)
        self._lookups: dict[tuple[Step, ...], tuple[_Lookup, ...]] = {(): ()}
        self.counts: dict[Indices, float] = {}
        self.sure_counts: dict[Indices, float] = {}
        self._pairs: dict[Indices, list[_Pair]] = {}
        self._join(grid)

    def draw(self, shape: Indices, rng: random.Random) -> Row:
        """Draw a member of a shape that has some, as a canonical row."""

        def pick(weights: Counts) -> Iterable[Cells]:
            return (_pick_cells(weights, rng),)

        pairs = self._pairs[shape]
        pair = pairs[0] if len(pairs) == 1 else pairs[_pick(np.cumsum([one.count for one in pairs]), rng)]
        # Pairs are large, so the sums over their first axis are kept.
        cell = _pick(self._row_sums(pair), rng)
        spent = (cell, *_pick_cells(pair.first.counts[cell] * pair.completions[cell], rng))
        return next(self._rows(pair, spent, pick))

    def members(self, shape: Indices) -> Iterator[Row]:
        """All members of a shape, as canonical rows."""
        for pair in self._pairs[shape]:
            for spent in _nonzero(pair.first.counts * pair.completions):
                yield from self._rows(pair, spent, _nonzero)

    def _join(self, grid: Grid) -> None:
        """Find the pairs of halves that lead into the band, and count their members."""
        halves = self._halves
        if sum(len(firsts) * len(halves.lasts.get(link, {})) for link, firsts in halves.firsts.items()) > MAX_SHAPES:
            raise TooMuchWork
        entries = 0
        for link, firsts in halves.firsts.items():
            box = np.max([node.counts.shape for node in firsts.values()], axis=0).tolist()
            lasts = halves.lasts.get(link, {})
            entries += math.prod(box) * (len(firsts) + len(lasts)) + sum(2 * node.counts.size for node in lasts.values())
            if entries > MAX_ENTRIES:
                raise TooMuchWork
            spread = np.zeros((len(firsts), *box))
            for counts, node in zip(spread, firsts.values(), strict=True):
                counts[tuple(map(slice, node.counts.shape))] = node.counts
            spread = spread.reshape(len(firsts), -1)
            for shape, last in lasts.items():
                completions = halves.completions(last.counts, self._band, box)
                members = spread @ completions.ravel()
                sure = members if self.is_exact else spread @ halves.completions(last.counts, grid.sure, box).ravel()
                for (start, first), number, least in zip(firsts.items(), members.tolist(), sure.tolist(), strict=True):
                    if number:
                        whole = start + shape
                        self.counts[whole] = self.counts.get(whole, 0.0) + number
                        self.sure_counts[whole] = self.sure_counts.get(whole, 0.0) + least
                        own = completions[tuple(map(slice, first.counts.shape))]
                        self._pairs.setdefault(whole, []).append(_Pair(first, last, own, number))

    def _rows(self, pair: _Pair, spent: Cells, select: Select) -> Iterator[Row]:
        """Members whose first half costs these cells."""
        low, high = ([cell - before for cell, before in zip(cells, spent, strict=True)] for cells in self._band)
        room = pair.last.counts[tuple(slice(max(first, 0), last + 1) for first, last in zip(low, high, strict=True))]
        for cells in select(room):
            left = tuple(max(first, 0) + cell for first, cell in zip(low, cells, strict=True))
            for tail in self._filled(pair.last, left, select):
                for head in self._filled(pair.first, spent, select):
                    values = [0] * self._num_slots
                    for columns, options in (*head, *tail):
                        for column, option in zip(columns, options, strict=True):
                            values[column] = option
                    yield np.array(values, dtype=np.int64)

    def _filled(self, node: Node, cells: Cells, select: Select) -> Iterator[Slots]:
        """Fill the slots of some sections, such that they cost these cells."""
        if not node.joints:
            yield []
            return
        splits = [_splits(link.counts, rest.counts, cells) for link, rest in node.joints]
        joints = select(np.array([products.sum() for _, products in splits])) if len(splits) > 1 else [(0,)]
        for (joint,) in joints:
            (link, rest), (low, products) = node.joints[joint], splits[joint]
            for more in select(products):
                own = tuple(map(int.__add__, low, more))
                for section in self._filled_section(link, own, select):
                    for others in self._filled(rest, _less(cells, own), select):
                        yield section + others

    def _filled_section(self, link: Link, cells: Cells, select: Select) -> Iterator[Slots]:
        rests = [_less(cells, one.base) for one in link.states]
        weights = np.array([_at(self._halves.sums(one.steps), rest) for one, rest in zip(link.states, rests, strict=True)])
        for (place,) in select(weights) if len(weights) > 1 else [(0,)]:
            one = link.states[place]
            shared = self._sections[link.section].columns, [max(value, 0) for value in one.state.values]
            lookups = self._lookups_of(one.steps)
            for options in _options(lookups, one.state.choices, rests[place], select) if lookups else [[]]:
                yield [shared, *options]

    def _lookups_of(self, steps: tuple[Step, ...]) -> tuple[_Lookup, ...]:
        if steps not in self._lookups:
            self._lookups[steps] = (*self._lookups_of(steps[:-1]), _Lookup(steps[-1], self._halves.sums(steps[:-1])))
        return self._lookups[steps]


def _options(lookups: Sequence[_Lookup], choices: Sequence[IndependentChoice], cells: Cells, select: Select) -> Iterator[Slots]:
    """Fill the slots of choices, such that they cost these cells; the last choice first."""
    last = len(lookups) - 1
    lookup, choice = lookups[last], choices[last]
    for (place,) in select(lookup(cells)):
        filled = choice.columns, choice.options[lookup.step.options[place]]
        if not last:
            yield [filled]
            continue
        for others in _options(lookups[:last], choices, _less(cells, lookup.step.cells[place]), select):
            yield [filled, *others]


class _Lookup:
    """The number of ways in which steps cost some cells, by the option of the last step."""

    def __init__(self, step: Step, others: Counts) -> None:
        self.step = step
        # With zeros around, one look-up serves all options, also those that leave too little or too much for the others.
        padded = np.pad(others, [(most, most) for most in step.most])
        self._counts = padded.ravel()
        self._strides = [stride // padded.itemsize for stride in padded.strides]
        self._offsets = np.subtract(step.most, np.array(step.cells).reshape(-1, others.ndim)) @ np.array(self._strides)

    def __call__(self, cells: Cells) -> Counts:
        return self._counts.take(self._offsets + sum(map(int.__mul__, cells, self._strides)))


def _row_sums(pair: _Pair) -> NDArray[np.float64]:
    """The running sum of a pair's members by the cells of the first axis."""
    first, completions = (counts.reshape(len(counts), -1) for counts in (pair.first.counts, pair.completions))
    return np.einsum("ij,ij->i", first, completions).cumsum()


def _splits(ours: Counts, theirs: Counts, total: Cells) -> tuple[list[int], Counts]:
    """The number of ways in which two parts cost a total, by the cells of the first part: the least cells, and an array from these on."""
    low = [max(cell - size + 1, 0) for cell, size in zip(total, theirs.shape, strict=True)]
    high = [min(cell + 1, size) for cell, size in zip(total, ours.shape, strict=True)]
    own = tuple(slice(start, max(end, start)) for start, end in zip(low, high, strict=True))
    other = tuple(slice(cell - part.stop + 1, cell - part.start + 1) for cell, part in zip(total, own, strict=True))
    return low, ours[own] * theirs[other][(slice(None, None, -1),) * len(low)]


def _at(counts: Counts, cells: Cells) -> float:
    """The count of some cells."""
    try:
        return counts[cells] if min(cells) >= 0 else 0.0
    except IndexError:
        return 0.0


def _less(cells: Cells, spent: Sequence[int]) -> Cells:
    return tuple(map(int.__sub__, cells, spent))


def _nonzero(weights: Counts) -> Iterable[Cells]:
    return map(tuple, np.argwhere(weights).tolist())


def _pick(sums: NDArray[np.float64], rng: random.Random) -> int:
    """Draw an index with a probability in proportion to its weight, from the running sum of weights; never one without weight."""
    place = int(sums.searchsorted(rng.random() * sums[-1], "right"))
    # The product may round up to the sum of all.
    return place if place < len(sums) else int(sums.searchsorted(sums[-1]))


def _pick_cells(weights: NDArray[Any], rng: random.Random) -> Cells:
    """The same for an array of weights, axis by axis; nothing for one without axes."""
    if weights.ndim < 2:
        return (_pick(weights.cumsum(), rng),) if weights.ndim else ()
    first = _pick(weights.reshape(len(weights), -1).sum(axis=1).cumsum(), rng)
    return (first, *_pick_cells(weights[first], rng))
