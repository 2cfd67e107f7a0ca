"""Costs that add up: what a band and its samplers need to know of a space, and of what its members cost.

A space is a number of slots with options. A cost is a sum of terms, each of which depends on a few slots alone: what a
block costs depends on its mixer and on its stage's width. Nothing here knows about networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

CategoricalOption = str | int | float | bool | None
Parameters = Mapping[str, CategoricalOption]
"""An option for every slot."""
Condition = tuple[str, frozenset[CategoricalOption]]
"""A slot is active only where an earlier one, named first, is active and holds one of these options: a third block, where the depth is at
least 3."""
Row = NDArray[np.int64]
"""A member as indices of its options, (slots,)."""
Costs = NDArray[np.int64]
"""Costs by quantity on the last axis."""


class CategoricalSpace(Protocol):
    """A space of categorical choices."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def slots(self) -> Mapping[str, tuple[CategoricalOption, ...]]:
        """Every slot's options, at least one. A slot comes after the one that its condition names."""

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """When a slot is active; one that is not named always is. Members that differ only in inactive slots are the same."""

    @property
    def shape_slots(self) -> Sequence[str]:
        """The slots whose combinations are drawn evenly before all others, such as widths and depths; none for plain even draws."""


@dataclass(frozen=True)
class Term:
    """A summand of every member's cost; where one of its slots is inactive, it is zero.

    Args:
        slots: on whose options it depends; none for a constant.
        costs: by quantity, whole numbers of at least 0, one dimension a slot in that order. A quantity that is not named costs nothing.
    """

    slots: tuple[str, ...]
    costs: Mapping[str, NDArray[np.int64]]

    def table(self, sizes: Sequence[int] | NDArray[np.int64], quantities: Sequence[str]) -> Costs:
        """Costs by option of each slot, `sizes` many, and by quantity."""
        costs = [np.broadcast_to(np.asarray(self.costs.get(quantity, 0), dtype=np.int64), tuple(sizes)) for quantity in quantities]
        return np.stack(costs, axis=-1)


AdditiveCost = Sequence[Term]
"""What the members of a space cost: the sum of some terms."""


class Rows:
    """Members as rows of option indices, one column a slot, so that many are handled at once.

    Inactive slots of a canonical row hold 0, so that equal canonical rows are equal members.
    """

    def __init__(self, space: CategoricalSpace) -> None:
        self.names = tuple(space.slots)
        self.options = tuple(space.slots.values())
        self.sizes = np.array([len(options) for options in self.options], dtype=np.int64)
        self._columns = {name: column for column, name in enumerate(self.names)}
        self._index = [{option: index for index, option in enumerate(options)} for options in self.options]
        self.conditions = {
            self._columns[name]: (self._columns[slot], np.array([option in allowed for option in space.slots[slot]]))
            for name, (slot, allowed) in space.conditions.items()
        }
        # By slot that others depend on, directly or not: which slots each of its options leaves active, (options, slots).
        self._masks: dict[int, NDArray[np.bool_]] = {}
        for column in self.conditions:
            link = column
            while link in self.conditions:
                link, allowed = self.conditions[link]
                mask = self._masks.setdefault(link, np.ones((self.sizes[link], len(self.names)), dtype=bool))
                mask[:, column] &= allowed

    def columns(self, slots: Sequence[str]) -> list[int]:
        """The columns of some slots."""
        return [self._columns[slot] for slot in slots]

    def active(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which slots of rows (n, slots) are active, of the same shape."""
        active = np.ones(rows.shape, dtype=bool)
        for column, mask in self._masks.items():
            active &= mask.take(rows[:, column], axis=0)
        return active

    def canonical(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same members with 0 in their inactive slots."""
        return np.where(self.active(rows), rows, 0)

    def row(self, parameters: Parameters) -> Row:
        """The canonical row of a member; KeyError where a slot or its option is missing."""
        row = np.array([index[parameters[name]] for name, index in zip(self.names, self._index, strict=True)], dtype=np.int64)
        return self.canonical(row[None])[0]

    def parameters(self, row: Row) -> dict[str, Any]:
        """The options of a row."""
        return {name: options[index] for name, options, index in zip(self.names, self.options, row.tolist(), strict=True)}


class CostTable:
    """The sum of a cost's terms, or the greatest of them, for many rows at once.

    The costs of all terms are in one array, and a row's places in it are a matrix product: one row costs some
    microseconds, many rows less than one each.
    """

    def __init__(self, rows: Rows, cost: AdditiveCost, quantities: Sequence[str], combine: np.ufunc = np.add) -> None:
        self.quantities = tuple(quantities)
        self._combine = combine
        self._rows = rows
        # A slot with a condition has one more option, for "inactive", at which every cost is zero.
        conditional = np.array([column in rows.conditions for column in range(len(rows.names))], dtype=np.int64)
        # In floating point, exact here, because only that product is fast.
        self._strides = np.zeros((len(rows.names), len(cost)))
        self._starts = np.zeros(len(cost), dtype=np.int64)
        costs = [np.zeros((0, len(self.quantities)), dtype=np.int64)]
        for place, term in enumerate(cost):
            columns = rows.columns(term.slots)
            table = term.table(rows.sizes[columns], self.quantities)
            table = np.pad(table, [*((0, more) for more in conditional[columns]), (0, 0)])
            for axis, column in enumerate(columns):
                self._strides[column, place] = math.prod(table.shape[axis + 1 : -1])
            self._starts[place] = sum(map(len, costs))
            costs.append(table.reshape(-1, len(self.quantities)))
        self._costs = np.concatenate(costs)

    def __call__(self, rows: NDArray[np.int64]) -> Costs:
        """Costs (n, quantities) of canonical rows (n, slots)."""
        options = np.where(self._rows.active(rows), rows, self._rows.sizes)
        terms = self._costs[(options @ self._strides).astype(np.int64) + self._starts]
        return self._combine.reduce(terms, axis=1)
