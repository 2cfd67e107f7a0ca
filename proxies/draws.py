"""Even draws among the members of a grid's widened band, macro shape by macro shape."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from proxies.grid import Cells, Counts, Extras, Grid, StageCells, ahead, sum_ahead
from proxies.space_costs import Choice, StageChoice


class Macro(NamedTuple):
    """The shape of an architecture: a width's index and a depth a stage."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]


class Draws:
    """Tables from which members of the widened band are drawn, each of a macro shape's with the same probability.

    Attributes:
        ways: by macro shape, the number of members, to the precision of a float; shapes without any are left out.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._stages = [_StageDraws(stage, grid.shape) for stage in grid.stages]
        self._after: list[dict[tuple[int, Macro], Counts]] = [{} for _ in grid.stages]
        self.ways: dict[Macro, float] = {}
        self._fill()

    @property
    def is_exact(self) -> bool:
        """Whether the widened band is the true one."""
        return self._grid.is_exact

    def draw(self, macro: Macro, rng: random.Random) -> Choice:
        """Draw one of the members of a macro shape that has some."""
        choice = []
        spent: Cells = (0,) * len(self._grid.axes)
        before = 0
        for i, (stage, width, depth) in enumerate(zip(self._stages, macro.widths, macro.depths, strict=True)):
            after = self._after[i][width, Macro(macro.widths[i + 1:], macro.depths[i + 1:])]
            spent = _add(spent, self._grid.stages[i].entry[before, width])
            ffn, kinds, cells = stage.draw(width, depth, ahead(after, spent), rng)
            choice.append(StageChoice(width, ffn, kinds))
            spent, before = _add(spent, cells), width
        return tuple(choice)

    def members(self, macro: Macro) -> Iterator[Choice]:
        """All members of a macro shape."""
        return self._members(macro, 0, (0,) * len(self._grid.axes), 0)

    def _members(self, macro: Macro, i: int, spent: Cells, before: int) -> Iterator[Choice]:
        if i == len(self._stages):
            yield ()
            return
        width, depth = macro.widths[i], macro.depths[i]
        after = self._after[i][width, Macro(macro.widths[i + 1:], macro.depths[i + 1:])]
        spent = _add(spent, self._grid.stages[i].entry[before, width])
        for ffn, kinds, cells in self._stages[i].members(width, depth, ahead(after, spent)):
            for rest in self._members(macro, i + 1, _add(spent, cells), width):
                yield (StageChoice(width, ffn, kinds), *rest)

    def _fill(self) -> None:
        nothing = Macro((), ())
        self._after[-1] = {(width, nothing): _moved(self._grid.widened_band, cells) for width, cells in self._grid.exits.items()}
        for i in reversed(range(1, len(self._stages))):
            stage = self._grid.stages[i]
            for (width, macro), after in self._after[i].items():
                if after.any():
                    for depth, counts in stage.prepend(width, after):
                        for (before, own), cells in stage.entry.items():
                            if own == width:
                                longer = Macro((width, *macro.widths), (depth, *macro.depths))
                                self._after[i - 1][before, longer] = _moved(counts, cells)
        for (width, macro), after in self._after[0].items():
            for depth in self._grid.stages[0].depths:
                ways = self._stages[0].num_ways(width, depth, ahead(after, self._grid.stages[0].entry[0, width]))
                if ways:
                    self.ways[Macro((width, *macro.widths), (depth, *macro.depths))] = ways


class _StageDraws:
    """Draws one stage's feed-forward network and blocks."""

    def __init__(self, cells: StageCells, shape: Cells) -> None:
        self._cells = cells
        self._shape = shape
        self._sums: dict[tuple[Extras, int], Counts] = {}
        self._ways: dict[tuple[Extras, int], dict[int, float]] = {}
        self._choices: dict[tuple[int, int], list[tuple[int, Cells, Counts]]] = {}

    def num_ways(self, width: int, depth: int, after: Counts) -> float:
        """In how many ways the stage's blocks lead on; `after` begins at what is spent before them."""
        return sum(float(products.sum()) for _, _, products in self._options(width, depth, after))

    def draw(self, width: int, depth: int, after: Counts, rng: random.Random) -> tuple[int, tuple[int, ...], Cells]:
        """Feed-forward network, kinds and the cells that they cost."""
        options = self._options(width, depth, after)
        ffn, base, products = options[_pick([float(products.sum()) for _, _, products in options], rng)]
        spent = tuple(int(cell) for cell in np.unravel_index(_pick_cell(products.ravel(), rng), products.shape))
        extras = self._cells.extras[width, ffn]
        codes = [_code(extra) for extra in extras]
        left = _code(spent)
        kinds = []
        for rest in reversed(range(depth)):
            ways = self._ways_by_sum(extras, rest)
            kind = _pick([ways.get(left - code, 0.0) for code in codes], rng)
            left -= codes[kind]
            kinds.append(kind)
        return ffn, tuple(kinds), _add(spent, base)

    def members(self, width: int, depth: int, after: Counts) -> Iterator[tuple[int, tuple[int, ...], Cells]]:
        """All that `draw` may return."""
        for ffn, base, products in self._options(width, depth, after):
            for place in zip(*np.nonzero(products), strict=True):
                spent = tuple(int(cell) for cell in place)
                for kinds in self._kinds(self._cells.extras[width, ffn], depth, _code(spent)):
                    yield ffn, kinds, _add(spent, base)

    def _kinds(self, extras: Extras, depth: int, left: int) -> Iterator[tuple[int, ...]]:
        """All kinds of so many blocks whose extras add up to what is left."""
        if depth == 0:
            yield ()
            return
        ways = self._ways_by_sum(extras, depth - 1)
        for kind, extra in enumerate(extras):
            if left - _code(extra) in ways:
                yield from ((kind, *kinds) for kinds in self._kinds(extras, depth - 1, left - _code(extra)))

    def _options(self, width: int, depth: int, after: Counts) -> list[tuple[int, Cells, Counts]]:
        """Feed-forward networks: what their blocks cost at the least, and by the sum of the blocks' extras the ways through it."""
        if (width, depth) not in self._choices:
            self._choices[width, depth] = [
                (ffn, self._cells.base(width, ffn, depth), self._sum_counts(extras, depth))
                for extras, ffns in self._cells.ffns(width).items()
                for ffn in ffns
            ]
        options = []
        for ffn, base, sums in self._choices[width, depth]:
            view = ahead(after, base)
            window = tuple(slice(None, min(a, b)) for a, b in zip(sums.shape, view.shape, strict=True))
            # No BLAS: its threads cost more than these short products, and far more on a busy machine.
            options.append((ffn, base, sums[window] * view[window]))
        return options

    def _ways_by_sum(self, extras: Extras, depth: int) -> dict[int, float]:
        """`_sum_counts` as a mapping from codes of cells, which is faster to ask for single ones."""
        key = (extras, depth)
        if key not in self._ways:
            counts = self._sum_counts(extras, depth)
            places = np.argwhere(counts)
            self._ways[key] = {_code(tuple(map(int, place))): float(counts[tuple(place)]) for place in places}
        return self._ways[key]

    def _sum_counts(self, extras: Extras, depth: int) -> Counts:
        """By sum, the number of ways in which the extras of `depth` blocks add up to it."""
        key = (extras, depth)
        if key not in self._sums:
            if depth == 0:
                self._sums[key] = np.ones((1,) * len(extras[0]))
            else:
                fewer = self._sum_counts(extras, depth - 1)
                most = tuple(map(max, zip(*extras, strict=True)))
                # Sums beyond the grid lie outside every band.
                grown = np.zeros([min(size + more, limit) for size, more, limit in zip(fewer.shape, most, self._shape, strict=True)])
                for cells, times in Counter(extras).items():
                    room = grown[tuple(slice(cell, cell + size) for cell, size in zip(cells, fewer.shape, strict=True))]
                    room += times * fewer[tuple(slice(None, size) for size in room.shape)]
                self._sums[key] = grown
        return self._sums[key]


def _code(cells: Cells) -> int:
    """Cells as one number. Differences of codes are codes of differences, and those with negative cells have no equal."""
    code = 0
    for cell in cells:
        code = (code << 40) + cell
    return code


def _moved(counts: Counts, cells: Cells) -> Counts:
    return sum_ahead(counts, Counter([cells]))


def _pick(weights: list[float], rng: random.Random) -> int:
    """An index with a probability in proportion to its weight; never one without weight."""
    sums = list(accumulate(weights))
    place = bisect_right(sums, rng.random() * sums[-1])
    # The product may round up to the sum of all.
    return place if place < len(sums) else bisect_left(sums, sums[-1])


def _pick_cell(weights: Counts, rng: random.Random) -> int:
    """The same for an array."""
    sums = np.cumsum(weights)
    place = int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
    return place if place < len(sums) else int(np.searchsorted(sums, sums[-1]))


def _add(a: Cells, b: Cells) -> Cells:
    return tuple(x + y for x, y in zip(a, b, strict=True))

