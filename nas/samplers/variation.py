"""Variation of members of a band: mutation, crossover, and projection of a point outside. Each works on many members at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nas.samplers.observed_trials import Members
from proxies.band.band import Band
from proxies.band.extremes import excess

MAX_REPAIRS = 2
"""Further edits of a child outside the band, before it is dropped."""
BEAM = 16
"""Rows outside the band that the search for the nearest member edits further."""


def offspring(
    band: Band, first: Members, second: Members, num_mutants: int, rng: np.random.Generator, max_edits: int = 3
) -> Members:
    """Children (at most n, slots) of parents (n, slots). They are members of the band; children outside are dropped.

    Args:
        first: parents. The first `num_mutants` of them are mutated: one to `max_edits` of their active slots change.
        second: the partners of the others, for crossover: a child takes each slot from a parent in which it is active.
    """
    mutants = _mutated(band, first[:num_mutants], rng, max_edits)
    return _repaired(band, np.concatenate((mutants, _crossed(band, first[num_mutants:], second[num_mutants:], rng))), first, rng)


def nearest_members(band: Band, row: Members, untaken: Callable[[Members], Members], rng: np.random.Generator) -> Members:
    """Members (n, slots), in random order, that differ from a row (slots,) in few slots; none if the search finds none.

    A beam search: it tries all single edits, and edits those rows further that miss the budget least. So the result is nearest
    if one edit suffices, and near otherwise.

    Args:
        row: an option for every slot, inactive ones included.
        untaken: filters members (n, slots) for wanted ones.
    """
    beam = row[None]
    for _ in range(len(row) + 1):
        canonical = band.rows.canonical(beam)
        found = untaken(canonical[band.admits(canonical)])
        if len(found):
            return rng.permutation(found)
        least = np.argsort(excess(band.budget, band.costs(canonical)) + 1e-9 * rng.random(len(beam)))[:BEAM]
        beam = np.concatenate([_edited_once(band, beam[i], row) for i in least])
    return np.empty((0, len(row)), dtype=np.int64)


def _edited_once(band: Band, row: Members, origin: Members) -> Members:
    """All rows (n, slots) with one more active slot changed, among the slots that still equal the origin's."""
    open_slots = np.flatnonzero(band.rows.active(row[None])[0] & (row == origin) & (band.rows.sizes > 1))
    edits = [(slot, option) for slot in open_slots for option in range(band.rows.sizes[slot]) if option != row[slot]]
    edited = np.repeat(row[None], len(edits), axis=0)
    for index, (slot, option) in enumerate(edits):
        edited[index, slot] = option
    return edited


def _repaired(band: Band, full: Members, parents: Members, rng: np.random.Generator) -> Members:
    """The children inside the band. One outside is edited again, some times: often that makes up for the cost of the first edit."""
    children = []
    for repair in range(MAX_REPAIRS + 1):
        active = band.rows.active(full)
        canonical = np.where(active, full, 0)
        inside = band.admits(canonical)
        children.append(canonical[inside & (canonical != parents).any(axis=1)])
        full, parents = full[~inside], parents[~inside]
        if repair == MAX_REPAIRS or not len(full):
            break
        _edit(band, full, active[~inside], np.ones(len(full), dtype=np.int64), rng)
    return np.concatenate(children)


def _mutated(band: Band, parents: Members, rng: np.random.Generator, max_edits: int) -> Members:
    active = band.rows.active(parents)
    # Inactive slots become random: a child that is deeper than its parent uses them.
    full = np.where(active, parents, _random_options(band, parents.shape, rng))
    _edit(band, full, active, rng.integers(1, max_edits + 1, len(parents)), rng)
    return full


def _crossed(band: Band, first: Members, second: Members, rng: np.random.Generator) -> Members:
    active, other = band.rows.active(first), band.rows.active(second)
    from_second = np.where(active == other, rng.random(first.shape) < rng.random((len(first), 1)), other)
    return np.where(active | other, np.where(from_second, second, first), _random_options(band, first.shape, rng))


def _random_options(band: Band, shape: tuple[int, ...], rng: np.random.Generator) -> Members:
    # Three times as fast as `rng.integers` with a bound for each slot.
    return (rng.random(shape) * band.rows.sizes).astype(np.int64)


def _edit(band: Band, full: Members, active: NDArray[np.bool_], times: Members, rng: np.random.Generator) -> None:
    """Change active slots in place: `times` (n,) draws for each row, which may hit the same slot."""
    choosable = active & (band.rows.sizes > 1)
    # The flat indices of all choosable slots, row after row; each row draws from its own part of them.
    slots, ends = np.flatnonzero(choosable), np.count_nonzero(choosable, axis=1).cumsum()
    starts = np.concatenate(([0], ends[:-1]))
    rows = np.repeat(np.arange(len(full)), np.where(ends > starts, times, 0))
    chance, other = rng.random((2, len(rows)))
    drawn = slots[starts[rows] + (chance * (ends - starts)[rows]).astype(np.int64)] % full.shape[1]
    sizes = band.rows.sizes[drawn]
    full[rows, drawn] = (full[rows, drawn] + 1 + (other * (sizes - 1)).astype(np.int64)) % sizes
