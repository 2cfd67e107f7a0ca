"""The number of ways in which choices add up to cells, over the first sections of a space and over its last ones.

A member of a band is a first and a last half whose cells together lie inside. There are about as many halves as the square root of the
number of shapes. A product of their tables is the number of members of each pair of halves.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxies.band.factorisation import Indices
from proxies.band.quantisation import Box, Cells, Grid, QuantisedState, Step

Counts = NDArray[Any]
"""Numbers of ways by cells; beyond the array there are none."""

COUNT_RESOLUTIONS = ((2**17,), (2**9, 2**8), (2**8, 2**6))
"""By number of limits, cells by axis of the grid that bounds are counted on."""
EXACT_RESOLUTIONS = ((2**24,), (2**12,), (2**8,))
"""The same for a grid without slack: as many cells as fit the memory."""
MAX_WORK = 4e9
"""Additions of floats that an exact count may take: some seconds."""
MAX_INTEGER_WORK = 3e7
"""The same for whole numbers of any size."""
MAX_ENTRIES = 3e7
"""Entries of its tables, to fit the memory."""
ROUNDING = 1e-9
"""More than rounding changes a sum of positive terms, some thousand at a time, in double precision."""


@dataclass(frozen=True, eq=False)
class Link:
    """States of a section that share their shape and what links them to other sections.

    Args:
        section: its number.
        counts: of the section's own cells.
    """

    section: int
    before: Indices
    after: Indices
    shape: Indices
    states: list[QuantisedState]
    counts: Counts


@dataclass(frozen=True, eq=False)
class Node:
    """Some neighbouring sections: counts by their cells. A joint is one of the sections, by its link, and a node of the others."""

    counts: Counts
    joints: tuple[tuple[Link, Node], ...] = ()


Nodes = Mapping[Indices, Mapping[Indices, Node]]
"""By what links a half with the other, by the half's shape."""


class TooMuchWork(Exception):
    """A grid is too fine to be counted on in the time there is."""


class Halves:
    """The halves of a space, without the costs that exceed the grid's upper bounds.

    Args:
        by_shape: whether halves of different shapes are counted separately.
        dtype: of counts: `float`, or `object` for whole numbers of any size.
        max_work: additions after which TooMuchWork is raised.

    Attributes:
        work: additions made so far.
        entries: of the tables made so far.
    """

    def __init__(self, grid: Grid, *, by_shape: bool, dtype: type = float, max_work: float = math.inf) -> None:
        self._top, self._dtype, self._max_work = grid.widened[1], dtype, max_work
        self.work = self.entries = 0
        one: Counts = np.ones((1,) * len(self._top), dtype)
        self._sums: dict[tuple[Step, ...], Counts] = {(): one}
        links = [self._links(i, states, by_shape) for i, states in enumerate(grid.sections)]
        cut = _middle(links)
        self.firsts: Nodes = {(): {(): Node(one)}}
        for section in links[:cut]:
            self.firsts = self._extended(self.firsts, section, forward=True)
        self.lasts: Nodes = {(): {(): Node(one)}}
        for section in reversed(links[cut:]):
            self.lasts = self._extended(self.lasts, section, forward=False)

    def sums(self, steps: tuple[Step, ...]) -> Counts:
        """The number of ways in which steps add up to cells, by cells."""
        if steps not in self._sums:
            self._sums[steps] = self._added(self.sums(steps[:-1]), steps[-1])
        return self._sums[steps]

    def completions(self, last: Counts, band: Box, shape: Sequence[int]) -> Counts:
        """The number of ways in which a last half leads into a band, by the cells of the first half; an array of this shape."""
        counts = last
        for axis in range(1, counts.ndim):
            left = band[1][axis] - np.arange(shape[axis])
            counts = counts.cumsum(axis=axis).take(np.clip(left, 0, counts.shape[axis] - 1), axis=axis)
            counts[(slice(None),) * axis + (left < 0,)] = 0
        low, high = band[0][0] - shape[0] + 1, band[1][0]
        width = high - band[0][0] + 1
        if width <= 0:
            return np.zeros(shape, self._dtype)
        # What the last half may cost, from the least after the most expensive first half to the greatest after the cheapest.
        block = np.zeros((shape[0] + width - 1, *counts.shape[1:]), self._dtype)
        some = counts[max(low, 0) : high + 1]
        block[max(-low, 0) : max(-low, 0) + len(some)] = some
        self._worked(block.size * width.bit_length(), block.size)
        # Sums of 1, 2, 4 ... neighbours make up those of any number. Differences of running sums would lose small counts beside great ones.
        total, offset = np.zeros((shape[0], *counts.shape[1:]), self._dtype), 0
        for bit in range(width.bit_length()):
            if width >> bit & 1:
                total = total + block[offset : offset + shape[0]]
                offset += 1 << bit
            block = block[: -(1 << bit)] + block[1 << bit :] if width >> bit > 1 else block
        return total[::-1]

    def total(self, band: Box) -> Any:
        """The number of members in a band."""
        return sum(
            (first.counts * self.completions(last.counts, band, first.counts.shape)).sum()
            for link, firsts in self.firsts.items()
            for first in firsts.values()
            for last in self.lasts.get(link, {}).values()
        )

    def _links(self, i: int, states: Iterable[QuantisedState], by_shape: bool) -> list[Link]:
        alike: defaultdict[tuple[Indices, Indices, Indices], list[QuantisedState]] = defaultdict(list)
        for one in states:
            alike[one.state.before, one.state.after, one.state.shape if by_shape else ()].append(one)
        links = []
        for (before, after, shape), some in alike.items():
            counts = self._sum((one.base, self.sums(one.steps)) for one in some)
            if counts.size:
                links.append(Link(i, before, after, shape, some, counts))
        return links

    def _extended(self, nodes: Nodes, section: list[Link], *, forward: bool) -> Nodes:
        """Nodes of one section more."""
        joints: defaultdict[tuple[Indices, Indices], list[tuple[Link, Node, Counts]]] = defaultdict(list)
        for known, by_shape in nodes.items():
            links = [link for link in section if (link.before if forward else link.after) == known]
            for shape, node in by_shape.items():
                # States often begin with the same steps. What one node shares is forgotten before the next, to spare memory.
                sums: dict[tuple[Step, ...], Counts] = {(): node.counts}
                for link in links:
                    key = (link.after, shape + link.shape) if forward else (link.before, link.shape + shape)
                    counts = self._sum((one.base, self._after(sums, one.steps)) for one in link.states) if node.joints else link.counts
                    if counts.size:
                        joints[key].append((link, node, counts))
        extended: defaultdict[Indices, dict[Indices, Node]] = defaultdict(dict)
        origin = (0,) * len(self._top)
        for (known, shape), some in joints.items():
            total = self._sum((origin, counts) for _, _, counts in some)
            extended[known][shape] = Node(total, tuple((link, node) for link, node, _ in some))
        return extended

    def _after(self, sums: dict[tuple[Step, ...], Counts], steps: tuple[Step, ...]) -> Counts:
        if steps not in sums:
            sums[steps] = self._added(self._after(sums, steps[:-1]), steps[-1])
        return sums[steps]

    def _added(self, counts: Counts, step: Step) -> Counts:
        """The counts with one more step."""
        shape = tuple(min(size + more, top + 1) for size, more, top in zip(counts.shape, step.most, self._top, strict=True))
        added = np.zeros(shape, self._dtype)
        for cells, times in step.distinct:
            _add(added, cells, counts, times)
        self._worked(added.size * len(step.distinct), added.size)
        return added

    def _sum(self, many: Iterable[tuple[Cells, Counts]]) -> Counts:
        """The sum of counts, each moved by some cells; an empty array where all exceed the grid."""
        moved = [(base, counts) for base, counts in many if all(map(int.__le__, base, self._top))]
        if len(moved) == 1 and not any(moved[0][0]):
            return moved[0][1]
        ends = [np.add(base, counts.shape) for base, counts in moved]
        shape = np.minimum(np.max(ends, axis=0, initial=0), np.add(self._top, 1)) if ends else np.zeros_like(self._top)
        total = np.zeros(shape, self._dtype)
        for base, counts in moved:
            _add(total, base, counts)
        self._worked(total.size * len(moved), total.size)
        return total

    def _worked(self, additions: int, entries: int) -> None:
        self.work += additions
        self.entries += entries
        if self.work > self._max_work:
            raise TooMuchWork


def count_bounds(grid_of: Callable[[Sequence[Sequence[int]]], Grid]) -> tuple[int, int]:
    """A least and a greatest number of distinct members of a band, given its grids by resolution.

    The two are equal where the costs share a unit so great that every sum has a cell of its own, and these are few enough.
    Otherwise the first counts what is surely inside, and the second what is inside the widened band.
    """
    coarse, fine = grid_of(COUNT_RESOLUTIONS), grid_of(EXACT_RESOLUTIONS)
    halves = Halves(coarse, by_shape=False)
    most = math.ceil(float(halves.total(coarse.widened)) * (1 + ROUNDING))
    refined = math.prod((coarse.units / fine.units).tolist())
    # Sums of floats are exact up to 2**53.
    dtype, max_work = (float, MAX_WORK) if most < 2**53 else (object, MAX_INTEGER_WORK)
    if fine.is_exact and halves.work * refined <= max_work and halves.entries * refined <= MAX_ENTRIES:
        exact = int(Halves(fine, by_shape=False, dtype=dtype).total(fine.widened))
        return exact, exact
    return math.floor(float(halves.total(coarse.sure)) * (1 - ROUNDING)), most


def _add(total: Counts, base: Sequence[int], counts: Counts, times: int = 1) -> None:
    """Add counts, moved by some cells, to a total; what exceeds it is left out."""
    room = total[tuple(slice(first, first + size) for first, size in zip(base, counts.shape, strict=True))]
    some = counts[tuple(map(slice, room.shape))]
    room += some if times == 1 else some * times


def _middle(links: Sequence[Sequence[Link]]) -> int:
    """The number of sections in the first half that makes halves fewest."""
    firsts: list[Counter[Indices]] = [Counter({(): 1})]
    lasts: list[Counter[Indices]] = [Counter({(): 1})]
    for section in links:
        firsts.append(Counter())
        for link in section:
            firsts[-1][link.after] += firsts[-2][link.before]
    for section in reversed(links):
        lasts.append(Counter())
        for link in section:
            lasts[-1][link.before] += lasts[-2][link.after]
    return min(range(len(links) + 1), key=lambda cut: firsts[cut].total() + lasts[len(links) - cut].total())
