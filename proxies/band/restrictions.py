"""Limits on costs that are maxima: they only leave out combinations of options, before any sum is counted.

Where the greatest of some terms must not exceed a limit, none of them may. So each term leaves out the options of its slots that exceed it,
and what is left of a space is counted as without the limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxies.band.additive_cost import AdditiveCost, Condition


@dataclass(frozen=True, eq=False)
class Restriction:
    """The combinations of some slots' options that are allowed, one dimension a slot; where one of the slots is inactive, all are."""

    slots: tuple[str, ...]
    allowed: NDArray[np.bool_]


def restrictions_of(
    peaks: AdditiveCost, limits: Mapping[str, int], sizes: Mapping[str, int], conditions: Mapping[str, Condition]
) -> Iterator[Restriction]:
    """The combinations of options that limits allow, where a member needs as much as the greatest of its terms.

    Slots on which nothing depends are left out, for a restriction couples no more slots than it must. But of slots that may be
    inactive one stays for each condition: without them the term does not count.

    Args:
        sizes: numbers of options by slot.
        conditions: of the slots that are not always active.
    """
    for term in peaks:
        costs = term.table([sizes[slot] for slot in term.slots], list(limits))
        allowed = np.asarray(np.all(costs <= np.array(list(limits.values())), axis=-1))
        axes = [axis for axis in range(allowed.ndim) if (allowed != np.take(allowed, [0], axis)).any()]
        known = {conditions.get(term.slots[axis]) for axis in axes}
        for axis in range(allowed.ndim):
            if (condition := conditions.get(term.slots[axis])) is not None and condition not in known:
                known.add(condition)
                axes.append(axis)
        axes.sort()
        if not allowed.all():
            others = tuple(axis for axis in range(allowed.ndim) if axis not in axes)
            yield Restriction(tuple(term.slots[axis] for axis in axes), np.asarray(np.all(allowed, axis=others)))


def possible_limits(peaks: AdditiveCost, quantity: str) -> list[int]:
    """All limits on a quantity that could be the least that leaves a member, in ascending order."""
    return np.unique(np.concatenate([np.ravel(term.costs[quantity]) for term in peaks if quantity in term.costs])).tolist()
