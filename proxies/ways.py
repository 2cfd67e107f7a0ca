"""In how many ways what is still to be chosen leads into a band, by cells spent so far: dynamic programming over sections.

It runs from the last section to the first. Arrays cover only the cells that earlier sections can have spent and from which
the band can be reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxies.grid import Cells, Grid, Step, Steps, Stride
from proxies.sections import Values

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

    def before(self, cells: Cells) -> Ways:
        """The counts before having spent some cells."""
        return Ways(tuple(first - cell for first, cell in zip(self.origin, cells, strict=True)), self.counts)

    def overlap(self, sums: Counts, spent: Cells) -> tuple[Cells, Counts]:
        """Products with counts of what is spent next, beyond `spent`: their first cells, and the array."""
        low, ours, theirs = [], [], []
        for cell, first, size, length in zip(spent, self.origin, self.counts.shape, sums.shape, strict=True):
            start = max(first - cell, 0)
            end = max(min(length, first + size - cell), start)
            low.append(start)
            theirs.append(slice(start, end))
            ours.append(slice(start + cell - first, end + cell - first))
        return tuple(low), sums[tuple(theirs)] * self.counts[tuple(ours)]


@dataclass(frozen=True, eq=False)
class Branch:
    """One state of a section, and what follows; `ways` by what is spent before the section, its base included."""

    stride: Stride
    ways: Ways
    following: Node


@dataclass(frozen=True, eq=False)
class Node:
    """What may follow what has been chosen so far: nothing behind the last section."""

    ways: Ways
    branches: tuple[Branch, ...] = ()


class Counter:
    """Counts the ways into a band of a grid.

    Args:
        band: its least and its greatest cells.
        modulus: counts are taken modulo this number below 2**32, modulo 2**64 where it is 0, in floating point without one.

    Attributes:
        work: additions made so far.
    """

    def __init__(self, grid: Grid, band: tuple[Cells, Cells], modulus: int | None = None) -> None:
        self._grid = grid
        self._modulus = modulus
        self._type = np.dtype(float if modulus is None else np.uint64)
        self._band = band
        self._sums: dict[Steps, Counts] = {(): np.ones((1,) * len(grid.axes), self._type)}
        self._spans: dict[Steps, tuple[Cells, Cells]] = {}
        self._ahead: dict[tuple[int, Cells, Steps], Ways | None] = {}
        self.work = 0

    def roots(self) -> dict[Values, Node]:
        """What leads into the band, by shape; shapes that do not are left out."""
        following: dict[Values, dict[Values, Node]] = {(): {(): Node(self._whole_band())}} if self._reachable() else {(): {}}
        for i in reversed(range(len(self._grid.strides))):
            self._enter(i)
            before: dict[Values, dict[Values, Node]] = {}
            for inherited, strides in self._grid.strides[i].items():
                nodes: dict[Values, Node] = {}
                by_shape: dict[Values, list[Stride]] = {}
                for stride in strides:
                    by_shape.setdefault(stride.state.shape, []).append(stride)
                for shape, alike in by_shape.items():
                    for rest in dict.fromkeys(rest for stride in alike for rest in following[stride.state.bequest]):
                        branches = tuple(self._branches(i, alike, rest, following))
                        if branches:
                            nodes[shape + rest] = Node(self._total(branches), branches)
                before[inherited] = nodes
            following = before
        self._ahead.clear()
        return following[()]

    def total(self) -> Any:
        """The ways into the band over all shapes, without keeping the tables of single ones."""
        following: dict[Values, Ways] = {(): self._whole_band()} if self._reachable() else {}
        for i in reversed(range(len(self._grid.strides))):
            self._enter(i)
            before: dict[Values, Ways] = {}
            for inherited, strides in self._grid.strides[i].items():
                ways = [
                    found.before(stride.base)
                    for stride in strides
                    if stride.state.bequest in following
                    and (found := self._before(i, following[stride.state.bequest], stride)) is not None
                ]
                if ways:
                    before[inherited] = self._sum(ways)
            following = before
        self._ahead.clear()
        return following[()].counts.sum() if () in following else 0

    def sums(self, steps: Steps) -> Counts:
        """By cells from 0, in how many ways steps add up to them."""
        if steps not in self._sums:
            fewer, step = self.sums(steps[:-1]), steps[-1]
            upper = self._band[1]
            shape = tuple(min(size + more, most + 1) for size, more, most in zip(fewer.shape, step.most, upper, strict=True))
            counts = np.zeros(shape, self._type)
            for cells, times in self._options(step):
                room = counts[tuple(slice(cell, cell + size) for cell, size in zip(cells, fewer.shape, strict=True))]
                room += times * fewer[tuple(slice(None, size) for size in room.shape)]
            self.work += counts.size * len(step.cells)
            self._sums[steps] = self._reduced(counts)
        return self._sums[steps]

    def _reachable(self) -> bool:
        return all(least <= most for least, most in zip(*self._band, strict=True))

    def _whole_band(self) -> Ways:
        low, high = (
            tuple(map(choose, bounds, spent)) for choose, bounds, spent in zip((max, min), self._band, self._grid.spans[-1], strict=True)
        )
        return Ways(low, np.ones([max(last - first + 1, 0) for first, last in zip(low, high, strict=True)], self._type))

    def _enter(self, i: int) -> None:
        """Note what can have been spent before a section's first steps: by earlier sections, its base and the steps that remain."""
        self._ahead.clear()
        low, high = self._grid.spans[i]
        self._spans = {}
        for stride in (stride for strides in self._grid.strides[i].values() for stride in strides):
            least = most = stride.base
            for count in range(len(stride.steps), 0, -1):
                steps = stride.steps[:count]
                known = self._spans.get(steps, (_added(low, least), _added(high, most)))
                self._spans[steps] = tuple(map(min, known[0], _added(low, least))), tuple(map(max, known[1], _added(high, most)))
                most = _added(most, steps[-1].most)

    def _branches(
        self, i: int, strides: list[Stride], rest: Values, following: dict[Values, dict[Values, Node]]
    ) -> Iterator[Branch]:
        for stride in strides:
            node = following[stride.state.bequest].get(rest)
            if node is not None:
                ways = self._before(i, node.ways, stride)
                if ways is not None:
                    yield Branch(stride, ways, node)

    def _before(self, i: int, ways: Ways, stride: Stride) -> Ways | None:
        """The ways before a section's steps, by what is spent before these, its base included."""
        if i == 0:
            _, products = ways.overlap(self.sums(stride.steps), stride.base)
            count = self._reduced(self._reduced(products).sum())
            return Ways(stride.base, np.full((1,) * len(stride.base), count, self._type)) if count else None
        return self._chained(ways, stride.steps)

    def _chained(self, ways: Ways, steps: Steps) -> Ways | None:
        if not steps:
            return ways
        key = (id(ways.counts), ways.origin, steps)
        if key not in self._ahead:
            later = self._chained(ways, steps[:-1])
            self._ahead[key] = None if later is None else self._step_before(later, steps[-1], *self._spans[steps])
        return self._ahead[key]

    def _step_before(self, ways: Ways, step: Step, least: Cells, most: Cells) -> Ways | None:
        origin = tuple(map(max, least, (first - more for first, more in zip(ways.origin, step.most, strict=True))))
        ends = np.array([first + size for first, size in zip(ways.origin, ways.counts.shape, strict=True)])
        last = tuple(map(min, most, (ends - 1).tolist()))
        if any(a > b for a, b in zip(origin, last, strict=True)):
            return None
        counts = np.zeros([b - a + 1 for a, b in zip(origin, last, strict=True)], self._type)
        cells = np.array(step.cells)
        low = np.maximum(origin, ways.origin - cells)
        high = np.minimum(last, ends - 1 - cells) + 1
        ours = np.stack([low - origin, high - origin], axis=-1).tolist()
        theirs = np.stack([low + cells - ways.origin, high + cells - ways.origin], axis=-1).tolist()
        inside = (low < high).all(axis=1).tolist()
        for to, source, count, some in zip(ours, theirs, step.times, inside, strict=True):
            if some:
                room = counts[tuple(slice(*ends) for ends in to)]
                view = ways.counts[tuple(slice(*ends) for ends in source)]
                room += view if count == 1 else view * self._type.type(count)
        self.work += counts.size * len(step.cells)
        return _trimmed(Ways(origin, self._reduced(counts)))

    def _total(self, branches: tuple[Branch, ...]) -> Ways:
        return self._sum([branch.ways.before(branch.stride.base) for branch in branches])

    def _sum(self, many: list[Ways]) -> Ways:
        if len(many) == 1:
            return many[0]
        origin = tuple(map(min, *(ways.origin for ways in many)))
        ends = tuple(map(max, *(map(int.__add__, ways.origin, ways.counts.shape) for ways in many)))
        counts = np.zeros([end - first for end, first in zip(ends, origin, strict=True)], self._type)
        for ways in many:
            starts = [own - first for own, first in zip(ways.origin, origin, strict=True)]
            counts[tuple(slice(start, start + size) for start, size in zip(starts, ways.counts.shape, strict=True))] += ways.counts
        self.work += sum(ways.counts.size for ways in many)
        return Ways(origin, self._reduced(counts))

    def _options(self, step: Step) -> Iterator[tuple[Cells, Any]]:
        return zip(step.cells, np.array(step.times).astype(self._type), strict=True)

    def _reduced(self, counts: Any) -> Any:
        return counts % np.uint64(self._modulus) if self._modulus else counts


def _added(a: Cells, b: Cells) -> Cells:
    return tuple(map(int.__add__, a, b))


def _trimmed(ways: Ways) -> Ways | None:
    """Without the margins that hold no ways; None where there are none at all."""
    slices = []
    for axis in range(ways.counts.ndim):
        some = np.asarray(ways.counts.any(axis=tuple(other for other in range(ways.counts.ndim) if other != axis)))
        if not some.any():
            return None
        slices.append(slice(int(some.argmax()), len(some) - int(some[::-1].argmax())))
    origin = tuple(first + part.start for first, part in zip(ways.origin, slices, strict=True))
    counts = ways.counts[tuple(slices)]
    # A view would keep all of the array.
    return Ways(origin, counts.copy() if 2 * counts.size < ways.counts.size else counts)
