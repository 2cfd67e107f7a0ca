"""New members of a band from known ones: mutation, crossover, and the nearest to a row that may lie outside. All on many rows at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from proxies.band.additive_cost import Rows
from proxies.band.band import Band
from proxies.band.extremes import excess

IntRows = NDArray[np.int64]

MAX_REPAIRS = 2
"""Further edits of a child that lies outside, before it is given up."""
BEAM = 16
"""Rows outside the band that are changed further on the way to the nearest member."""


class Breeder:
    """Edits members of a band. Whatever it returns is canonical and inside; where no child is, it returns fewer than asked for."""

    def __init__(self, band: Band) -> None:
        self.band = band
        self._rows: Rows = band.rows
        self._editable = self._rows.sizes > 1

    def mutate(self, parents: IntRows, rng: np.random.Generator, max_edits: int = 3) -> IntRows:
        """Children (at most n, slots) of parents (n, slots), each with one to `max_edits` active choices changed.

        A child outside has a further choice changed, some times: often that one makes up for the cost of the first.
        """
        return self._inside(self._mutated(parents, rng, max_edits), parents, rng)

    def crossover(self, first: IntRows, second: IntRows, rng: np.random.Generator) -> IntRows:
        """Children (at most n, slots) that take each choice from one of two parents (n, slots) for which it counts."""
        return self._inside(self._crossed(first, second, rng), first, rng)

    def brood(self, first: IntRows, second: IntRows, num_mutants: int, rng: np.random.Generator) -> IntRows:
        """Mutants of the first so many of n parents, and crossovers of the others with theirs; the same as both in one go, and faster."""
        mutants = self._mutated(first[:num_mutants], rng, 3)
        return self._inside(np.concatenate((mutants, self._crossed(first[num_mutants:], second[num_mutants:], rng))), first, rng)

    def nearest(self, row: IntRows, new: Callable[[IntRows], IntRows], rng: np.random.Generator) -> IntRows:
        """Members (n, slots) that are `new` and differ in as few choices as possible from a row (slots,), which may lie outside.

        One change is tried in all ways; further ones from those rows alone that miss the budget least, so that the least number of
        changes may be missed. None where no member is found.

        Args:
            row: an option for every slot, also for those that do not count yet.
            new: keeps the wanted ones of some rows.
        """
        beam = row[None]
        for _ in range(len(row) + 1):
            canonical = self._rows.canonical(beam)
            found = new(canonical[self.band.admits(canonical)])
            if len(found):
                return rng.permutation(found)
            least = np.argsort(excess(self.band.budget, self.band.costs(canonical)) + 1e-9 * rng.random(len(beam)))[:BEAM]
            beam = np.concatenate([self._changed_once(beam[i], row) for i in least])
        return np.empty((0, len(row)), dtype=np.int64)

    def _changed_once(self, row: IntRows, origin: IntRows) -> IntRows:
        """All rows (n, slots) with one more active choice changed, none of those that differ from the origin already."""
        open_slots = np.flatnonzero(self._rows.active(row[None])[0] & (row == origin) & self._editable)
        changes = [(slot, option) for slot in open_slots for option in range(self._rows.sizes[slot]) if option != row[slot]]
        changed = np.repeat(row[None], len(changes), axis=0)
        for index, (slot, option) in enumerate(changes):
            changed[index, slot] = option
        return changed

    def _inside(self, full: IntRows, parents: IntRows, rng: np.random.Generator) -> IntRows:
        children = []
        for repair in range(MAX_REPAIRS + 1):
            active = self._rows.active(full)
            canonical = np.where(active, full, 0)
            inside = self.band.admits(canonical)
            children.append(canonical[inside & (canonical != parents).any(axis=1)])
            full, parents = full[~inside], parents[~inside]
            if repair == MAX_REPAIRS or not len(full):
                break
            self._edit(full, active[~inside], np.ones(len(full), dtype=np.int64), rng)
        return np.concatenate(children)

    def _mutated(self, parents: IntRows, rng: np.random.Generator, max_edits: int) -> IntRows:
        active = self._rows.active(parents)
        # What does not count yet is random, for a deeper child to find there.
        full = np.where(active, parents, self._drawn(parents.shape, rng))
        self._edit(full, active, rng.integers(1, max_edits + 1, len(parents)), rng)
        return full

    def _crossed(self, first: IntRows, second: IntRows, rng: np.random.Generator) -> IntRows:
        active, other = self._rows.active(first), self._rows.active(second)
        from_second = np.where(active == other, rng.random(first.shape) < rng.random((len(first), 1)), other)
        return np.where(active | other, np.where(from_second, second, first), self._drawn(first.shape, rng))

    def _drawn(self, shape: tuple[int, ...], rng: np.random.Generator) -> IntRows:
        """Random options, even to the last digits of a double; three times as fast as whole numbers of many bounds."""
        return (rng.random(shape) * self._rows.sizes).astype(np.int64)

    def _edit(self, full: IntRows, active: NDArray[np.bool_], times: IntRows, rng: np.random.Generator) -> None:
        """Change active choices of each row, in place: so many draws (n,) of one, which may meet."""
        choosable = active & self._editable
        # All choices there are, row after row; a row's are drawn from among its own.
        choices, ends = np.flatnonzero(choosable), np.count_nonzero(choosable, axis=1).cumsum()
        starts = np.concatenate(([0], ends[:-1]))
        rows = np.repeat(np.arange(len(full)), np.where(ends > starts, times, 0))
        chance, other = rng.random((2, len(rows)))
        places = choices[starts[rows] + (chance * (ends - starts)[rows]).astype(np.int64)] % full.shape[1]
        sizes = self._rows.sizes[places]
        full[rows, places] = (full[rows, places] + 1 + (other * (sizes - 1)).astype(np.int64)) % sizes
