"""In how many ways choices add up to cells: over the first sections of a space, and over its last ones.

A member of a band is a first and a last half whose cells together lie inside. Of halves there are about as many as the square
root of the number of shapes, and which of them meet in how many ways a product of their tables tells.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxies.band.factorisation import Values
from proxies.band.quantisation import Cells, Grid, Step, Steps, Stride

Counts = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Ways:
    """Counts by cells; the first entry belongs to the cells `origin`, and beyond the array there are none."""

    origin: Cells
    counts: Counts

    def at(self, cells: Cells) -> Any:
        """The count of some cells."""
        place = []
        for cell, first, size in zip(cells, self.origin, self.counts.shape, strict=True):
            if not first <= cell < first + size:
                return 0
            place.append(cell - first)
        return self.counts[tuple(place)]

    def moved(self, cells: Cells) -> Ways:
        """The counts after some more cells."""
        return Ways(added(self.origin, cells), self.counts)

    def together(self, other: Ways, total: Cells) -> tuple[Cells, Counts]:
        """In how many ways these and others make a total, by the cells of these: the first such cells, and an array."""
        low, ours, theirs = [], [], []
        for cell, first, size, start, length in zip(total, self.origin, self.counts.shape, other.origin, other.counts.shape, strict=True):
            least = max(first, cell - start - length + 1)
            end = max(min(first + size, cell - start + 1), least)
            low.append(least)
            ours.append(slice(least - first, end - first))
            theirs.append(slice(cell - end + 1 - start, cell - least + 1 - start))
        backwards = (slice(None, None, -1),) * len(low)
        return tuple(low), self.counts[tuple(ours)] * other.counts[tuple(theirs)][backwards]


@dataclass(frozen=True, eq=False)
class Link:
    """States of a section that share their shape and what surrounds them; `ways` by what the section costs."""

    section: int
    shape: Values
    bequest: Values
    strides: tuple[Stride, ...]
    ways: Ways


@dataclass(frozen=True, eq=False)
class Node:
    """Some neighbouring sections, by what they cost together: the outcomes of one of them, each with a node of the others."""

    ways: Ways
    joints: tuple[tuple[Link, Node], ...] = ()


Nodes = Mapping[Values, Mapping[Values, Node]]
"""By what is handed over between a half and the other, by the half's shape."""


class TooMuchWork(Exception):
    """A grid is too fine to be counted on in the time there is."""


class Halves:
    """The halves of a space.

    Args:
        by_shape: whether shapes are told apart.
        modulus: counts are taken modulo this number below 2**32, modulo 2**64 where it is 0, in floating point without one.
        max_work: additions after which TooMuchWork is raised.

    Attributes:
        firsts, lasts: no costs but those that may lie inside the grid's upper bounds.
        work: additions made so far.
        entries: of all tables made so far.
    """

    def __init__(self, grid: Grid, *, by_shape: bool, modulus: int | None = None, max_work: float = math.inf) -> None:
        self._top = grid.widened[1]
        self._modulus = modulus
        self._type = np.dtype(float if modulus is None else np.uint64)
        self._max_work = max_work
        self.work = self.entries = 0
        self._nothing = Ways((0,) * len(self._top), np.ones((1,) * len(self._top), self._type))
        self._sums: dict[Steps, Ways] = {(): self._nothing}
        links = [
            {inherited: self._links(i, strides, by_shape) for inherited, strides in section.items()}
            for i, section in enumerate(grid.strides)
        ]
        cut = _middle(links)
        self.firsts: Nodes = {(): {(): Node(self._nothing)}}
        for section in links[:cut]:
            self.firsts = self._extended(
                (node, shape + link.shape, link.bequest, link)
                for inherited, some in section.items()
                for shape, node in self.firsts.get(inherited, {}).items()
                for link in some
            )
        self.lasts: Nodes = {(): {(): Node(self._nothing)}}
        for section in reversed(links[cut:]):
            self.lasts = self._extended(
                (node, link.shape + shape, inherited, link)
                for bequest, nodes in self.lasts.items()
                for shape, node in nodes.items()
                for inherited, some in section.items()
                for link in some
                if link.bequest == bequest
            )

    def sums(self, steps: Steps) -> Counts:
        """By cells from 0, in how many ways steps add up to them."""
        if steps not in self._sums:
            self.sums(steps[:-1])
            self._sums[steps] = self._and(self._sums[steps[:-1]], steps[-1])
        return self._sums[steps].counts

    def before(self, last: Ways, box: tuple[Cells, Cells], band: tuple[Cells, Cells]) -> Counts:
        """In how many ways a last half leads into a band, by what the first one costs.

        Args:
            box: the least cells that this may be, and behind the greatest.
            band: the least and the greatest cells of both together.
        """
        counts = last.counts
        starts, ends = box
        for axis in range(1, counts.ndim):
            counts = self._reduced(counts.cumsum(axis=axis))
            left = band[1][axis] - last.origin[axis] - np.arange(starts[axis], ends[axis])
            counts = np.take(counts, np.clip(left, 0, counts.shape[axis] - 1), axis=axis)
            counts[(slice(None),) * axis + (left < 0,)] = 0
        width, size = band[1][0] - band[0][0] + 1, ends[0] - starts[0]
        if width <= 0:
            return np.zeros((size, *counts.shape[1:]), self._type)
        # What a first half may cost from the greatest to the least: the least and, `width` further, the greatest that may follow.
        first = band[0][0] - ends[0] + 1
        block = np.zeros((size + width - 1, *counts.shape[1:]), self._type)
        low, high = max(last.origin[0], first), min(last.origin[0] + len(counts), first + len(block))
        if low < high:
            block[low - first : high - first] = counts[low - last.origin[0] : high - last.origin[0]]
        self._worked(block.size * width.bit_length(), block.size)
        total, offset = np.zeros((size, *counts.shape[1:]), self._type), 0
        # Sums of 1, 2, 4 ... neighbours make up those of any number; differences of running sums would lose small counts beside great ones.
        for bit in range(width.bit_length()):
            if width >> bit & 1:
                total = self._reduced(total + block[offset : offset + size])
                offset += 1 << bit
            block = self._reduced(block[: -(1 << bit)] + block[1 << bit :]) if width >> bit > 1 else block
        return total[::-1]

    def total(self, band: tuple[Cells, Cells]) -> Any:
        """The ways into a band."""
        total = self._type.type(0)
        for handed, firsts in self.firsts.items():
            for last in self.lasts.get(handed, {}).values():
                for first in firsts.values():
                    ends = added(first.ways.origin, first.ways.counts.shape)
                    products = first.ways.counts * self.before(last.ways, (first.ways.origin, ends), band)
                    total = self._reduced(total + self._reduced(products).sum())
        return total

    def _links(self, i: int, strides: list[Stride], by_shape: bool) -> list[Link]:
        alike: dict[tuple[Values, Values], list[Stride]] = {}
        for stride in strides:
            alike.setdefault((stride.state.shape if by_shape else (), stride.state.bequest), []).append(stride)
        links = []
        for (shape, bequest), some in alike.items():
            ways = self._sum(Ways(stride.base, self.sums(stride.steps)) for stride in some)
            if ways is not None:
                links.append(Link(i, shape, bequest, tuple(some), ways))
        return links

    def _extended(self, joints: Iterable[tuple[Node, Values, Values, Link]]) -> Nodes:
        """Nodes of one section more; what is to be joined comes with the shape and what is handed over then."""
        found: dict[Values, dict[Values, list[tuple[Link, Node, Ways]]]] = {}
        known: dict[Steps, Ways] = {}
        current: Node | None = None
        for node, shape, handed, link in joints:
            if node is not current:
                # Links share their first steps with others of the same node; those of other nodes would only fill the memory.
                known, current = {(): node.ways}, node
            ways = link.ways if not node.joints else self._sum(
                self._after(known, stride.steps).moved(stride.base) for stride in link.strides
            )
            if ways is not None:
                found.setdefault(handed, {}).setdefault(shape, []).append((link, node, ways))
        nodes: dict[Values, dict[Values, Node]] = {}
        for handed, by_shape in found.items():
            for shape, some in by_shape.items():
                total = self._sum(ways for *_, ways in some)
                assert total is not None
                nodes.setdefault(handed, {})[shape] = Node(total, tuple((link, node) for link, node, _ in some))
        return nodes

    def _after(self, known: dict[Steps, Ways], steps: Steps) -> Ways:
        if steps not in known:
            known[steps] = self._and(self._after(known, steps[:-1]), steps[-1])
        return known[steps]

    def _and(self, ways: Ways, step: Step) -> Ways:
        """The ways with one more step."""
        fewer = ways.counts
        shape = tuple(
            max(min(size + more, top - first + 1), 0)
            for size, more, top, first in zip(fewer.shape, step.most, self._top, ways.origin, strict=True)
        )
        counts = np.zeros(shape, self._type)
        for cells, times in zip(step.cells, step.times, strict=True):
            room = counts[tuple(slice(cell, cell + size) for cell, size in zip(cells, fewer.shape, strict=True))]
            some = fewer[tuple(slice(None, size) for size in room.shape)]
            room += some if times == 1 else some * self._type.type(times)
        self._worked(counts.size * len(step.cells), counts.size)
        return Ways(ways.origin, self._reduced(counts))

    def _sum(self, many: Iterable[Ways]) -> Ways | None:
        """The ways of all; None where none costs little enough."""
        many = [ways for ways in many if ways.counts.size and all(map(int.__le__, ways.origin, self._top))]
        if not many:
            return None
        origin = tuple(min(firsts) for firsts in zip(*(ways.origin for ways in many), strict=True))
        ends = tuple(max(lasts) for lasts in zip(*(added(ways.origin, ways.counts.shape) for ways in many), strict=True))
        shape = tuple(min(end, top + 1) - first for end, top, first in zip(ends, self._top, origin, strict=True))
        if len(many) == 1:
            return Ways(origin, many[0].counts[tuple(map(slice, shape))])
        counts = np.zeros(shape, self._type)
        for ways in many:
            start = less(ways.origin, origin)
            room = counts[tuple(slice(first, first + size) for first, size in zip(start, ways.counts.shape, strict=True))]
            room += ways.counts[tuple(map(slice, room.shape))]
        self._worked(counts.size * len(many), counts.size)
        return Ways(origin, self._reduced(counts))

    def _worked(self, additions: int, entries: int) -> None:
        self.work += additions
        self.entries += entries
        if self.work > self._max_work:
            raise TooMuchWork

    def _reduced(self, counts: Any) -> Any:
        return counts % np.uint64(self._modulus) if self._modulus else counts


def added(a: Cells, b: Sequence[int]) -> Cells:
    """The sum of cells, axis by axis."""
    return tuple(map(int.__add__, a, b))


def less(a: Cells, b: Cells) -> Cells:
    """The difference of cells, axis by axis."""
    return tuple(map(int.__sub__, a, b))


def _middle(links: list[dict[Values, list[Link]]]) -> int:
    """The number of sections in the first half that makes halves fewest."""
    firsts: list[dict[Values, int]] = [{(): 1}]
    for section in links:
        counts: dict[Values, int] = {}
        for inherited, some in section.items():
            for link in some:
                counts[link.bequest] = counts.get(link.bequest, 0) + firsts[-1].get(inherited, 0)
        firsts.append(counts)
    lasts: list[dict[Values, int]] = [{(): 1}]
    for section in reversed(links):
        lasts.append({inherited: sum(lasts[-1].get(link.bequest, 0) for link in some) for inherited, some in section.items()})
    return min(range(len(links) + 1), key=lambda cut: sum(firsts[cut].values()) + sum(lasts[len(links) - cut].values()))
