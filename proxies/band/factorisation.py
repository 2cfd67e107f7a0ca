"""A space and its cost taken apart, for dynamic programming.

Some slots condition others: shape slots, slots that decide whether others count, and slots that share terms with so many
others that these would be one large choice. Once they are fixed, the remaining slots fall into independent groups, each
with a small table of costs. In a staged space, width, depth and feed-forward network condition, and every block is a group; where
every slot has a term of its own, every slot is a group.

Conditioning slots stand in sections, one after another, each with the groups that it is the last to condition. What a
section needs to know of earlier ones, such as the width before, is its *inheritance*.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from proxies.band.additive_cost import AdditiveCost, CategoricalSpace, Rows
from proxies.cost import BudgetError

MAX_OPTIONS = 512
"""Combinations of options that a group may have; a larger one is split by fixing the slot with most terms."""
MAX_STATES = 4096
"""Combinations of one section's conditioning slots, with what it inherits, a space may have."""

Values = tuple[int, ...]
"""Options' indices, -1 in slots that do not count."""
Amounts = NDArray[np.int64]


class CouplingError(BudgetError):
    """A space whose terms couple too many slots for its band to be counted."""


@dataclass(frozen=True, eq=False)
class Table:
    """What the options of a group cost beyond the least, (options, quantities). Equal tables are one object."""

    extras: Amounts


@dataclass(frozen=True)
class Pick:
    """A group's choice: which columns it fills, with which options, a combination, and what these cost."""

    columns: tuple[int, ...]
    options: list[Values]
    table: Table


@dataclass(frozen=True)
class State:
    """One way to fill a section's conditioning slots.

    Args:
        values: their options.
        shape: of these, those of shape slots.
        base: what the section costs at the least, by quantity.
        picks: the choices that are left.
        bequest: what the next section inherits.
    """

    values: Values
    shape: Values
    base: Amounts
    picks: tuple[Pick, ...]
    bequest: Values


@dataclass
class _Group:
    """Slots that share terms, the terms (as columns and amounts), and the conditioning slots that these depend on."""

    columns: list[int]
    terms: list[tuple[list[int], Amounts]]
    context: list[int]


class Sections:
    """The sections of a space, for some quantities of a cost.

    Args:
        shape_slots: what `State.shape` tells; the space's own, or none.

    Attributes:
        columns: by section, the columns of its conditioning slots.

    Raises CouplingError where too many slots are coupled.
    """

    def __init__(self, space: CategoricalSpace, rows: Rows, cost: AdditiveCost, quantities: Sequence[str]) -> None:
        self.space = space
        self.rows = rows
        self._sizes = rows.sizes.tolist()
        self._quantities = tuple(quantities)
        terms = [(columns := rows.columns(term.slots), term.table(rows.sizes[columns], quantities)) for term in cost.terms]
        self._shape = set(rows.columns(space.shape_slots))
        conditioning = self._shape | {controlling for controlling, _ in rows.conditions.values()}
        self._groups = self._independent(conditioning, terms)
        fixed = [(columns, table) for columns, table in terms if conditioning.issuperset(columns)]
        order = self._ordered(conditioning)
        self.columns = self._split(order)
        place = {column: i for i, columns in enumerate(self.columns) for column in columns}
        self._terms_of: list[list[tuple[list[int], Amounts]]] = [[] for _ in self.columns]
        for columns, table in fixed:
            self._terms_of[max((place[column] for column in columns), default=0)].append((columns, table))
        self._groups_of: list[list[_Group]] = [[] for _ in self.columns]
        for group in self._groups:
            self._groups_of[max((place[column] for column in group.context), default=0)].append(group)
        self._inherited = self._inheritances()
        self._tables: dict[tuple[tuple[int, ...], bytes], Table] = {}
        self._picks: dict[tuple[int, Values], tuple[Amounts, Pick | None]] = {}
        self.states = self._all_states()

    def __len__(self) -> int:
        return len(self.columns)

    @cached_property
    def least_bases(self) -> list[Amounts]:
        """By section, the least base of any state, by quantity."""
        return [np.min([state.base for states in section.values() for state in states], axis=0) for section in self.states]

    @cached_property
    def shared(self) -> list[int]:
        """By quantity, the greatest number that divides all differences of costs; 0 where there are none."""
        bases = [
            state.base - least
            for section, least in zip(self.states, self.least_bases, strict=True)
            for states in section.values()
            for state in states
        ]
        return np.gcd.reduce(np.concatenate([np.array(bases), *(table.extras for table in self._tables.values())])).tolist()

    def _independent(self, conditioning: set[int], terms: list[tuple[list[int], Amounts]]) -> list[_Group]:
        """Groups of the slots that do not condition; adds slots to `conditioning` until all groups are small."""
        while True:
            groups = list(self._components(conditioning, terms))
            large = [group for group in groups if math.prod(self._sizes[column] for column in group.columns) > MAX_OPTIONS]
            crowded = [group for group in large if len(group.columns) > 1]
            if not crowded:
                return groups
            for group in crowded:
                conditioning.add(max(group.columns, key=lambda column: sum(column in columns for columns, _ in group.terms)))

    def _components(self, conditioning: set[int], terms: list[tuple[list[int], Amounts]]) -> Iterator[_Group]:
        leader = {column: column for column in range(len(self._sizes)) if column not in conditioning}

        def find(column: int) -> int:
            while leader[column] != column:
                column = leader[column]
            return column

        for columns, _ in terms:
            free = [column for column in columns if column in leader]
            for column in free[1:]:
                leader[find(column)] = find(free[0])
        members: dict[int, list[int]] = {}
        for column in leader:
            members.setdefault(find(column), []).append(column)
        for group in members.values():
            own = [(columns, table) for columns, table in terms if set(columns) & set(group)]
            context = {column for columns, _ in own for column in columns if column in conditioning}
            context |= {self.rows.conditions[column][0] for column in group if column in self.rows.conditions}
            yield _Group(group, own, sorted(context))

    def _ordered(self, conditioning: set[int]) -> list[int]:
        """Conditioning slots in the order of the first group that depends on them, each behind the one that its condition names."""
        first = {column: column for column in conditioning}
        for group in self._groups:
            for column in group.context:
                first[column] = min([first[column], *group.columns])
        order: dict[int, None] = {}

        def place(column: int) -> None:
            if column in self.rows.conditions:
                place(self.rows.conditions[column][0])
            order.setdefault(column)

        for column in sorted(conditioning, key=lambda column: (first[column], column)):
            place(column)
        return list(order)

    def _split(self, order: list[int]) -> list[list[int]]:
        """Slots that condition the same groups make one section, unless their combinations are too many."""
        sections: list[list[int]] = []
        for column in order:
            linked = bool(sections) and any(
                column in group.context and not set(sections[-1]).isdisjoint(group.context) for group in self._groups
            )
            if linked and math.prod(self._sizes[other] for other in (*sections[-1], column)) <= MAX_STATES // 8:
                sections[-1].append(column)
            else:
                sections.append([column])
        return sections or [[]]

    def _inheritances(self) -> list[list[int]]:
        """By section, the earlier conditioning slots that it or a later one depends on; nothing behind the last."""
        needed: set[int] = set()
        inherited: list[list[int]] = [[]]
        for i in reversed(range(len(self.columns))):
            needed |= {column for columns, _ in self._terms_of[i] for column in columns}
            needed |= {column for group in self._groups_of[i] for column in group.context}
            needed |= {self.rows.conditions[column][0] for column in self.columns[i] if column in self.rows.conditions}
            needed -= set(self.columns[i])
            inherited.append(sorted(needed))
        return inherited[::-1]

    def _all_states(self) -> list[dict[Values, list[State]]]:
        """By section, its states by what is inherited."""
        sections: list[dict[Values, list[State]]] = []
        inheritances: dict[Values, None] = {(): None}
        for i in range(len(self.columns)):
            section: dict[Values, list[State]] = {}
            for values in inheritances:
                section[values] = list(self._states(i, values))
                if sum(map(len, section.values())) > MAX_STATES:
                    names = ", ".join(self.rows.names[column] for column in (*self._inherited[i], *self.columns[i]))
                    raise CouplingError(
                        f"{self.space.name}: got costs that couple {names:.200}, "
                        f"expected terms over so few slots that these have at most {MAX_STATES} combinations")
            inheritances = dict.fromkeys(state.bequest for states in section.values() for state in states)
            sections.append(section)
        return sections

    def _states(self, i: int, inherited: Values) -> Iterator[State]:
        for known in self._filled(self.columns[i], dict(zip(self._inherited[i], inherited, strict=True))):
            base = np.zeros(len(self._quantities), dtype=np.int64)
            for columns, table in self._terms_of[i]:
                values = [known[column] for column in columns]
                if min(values, default=0) >= 0:
                    base = base + table[tuple(values)]
            picks = []
            for group in self._groups_of[i]:
                least, pick = self._pick(group, known)
                base = base + least
                if pick is not None:
                    picks.append(pick)
            own = tuple(known[column] for column in self.columns[i])
            shape = tuple(known[column] for column in self.columns[i] if column in self._shape)
            yield State(own, shape, base, tuple(picks), tuple(known[column] for column in self._inherited[i + 1]))

    def _filled(self, columns: list[int], known: dict[int, int]) -> Iterator[dict[int, int]]:
        if not columns:
            yield known
            return
        first, *others = columns
        for option in range(self._sizes[first]) if self._counts(first, known) else (-1,):
            yield from self._filled(others, known | {first: option})

    def _counts(self, column: int, known: dict[int, int]) -> bool:
        if column not in self.rows.conditions:
            return True
        controlling, allowed = self.rows.conditions[column]
        return known[controlling] >= 0 and bool(allowed[known[controlling]])

    def _pick(self, group: _Group, known: dict[int, int]) -> tuple[Amounts, Pick | None]:
        """What a group costs at the least, and the choice that it leaves where any of its slots count."""
        key = (group.columns[0], tuple(known[column] for column in group.context))
        if key not in self._picks:
            columns = tuple(column for column in group.columns if self._counts(column, known))
            sizes = [self._sizes[column] for column in columns]
            options = np.indices(sizes).reshape(len(sizes), math.prod(sizes)).T
            amounts = np.zeros((len(options), len(self._quantities)), dtype=np.int64)
            for over, table in group.terms:
                places = [options[:, columns.index(column)] if column in columns else known.get(column, -1) for column in over]
                if all(isinstance(place, np.ndarray) or place >= 0 for place in places):
                    amounts += table[tuple(places)]
            least = amounts.min(axis=0)
            self._picks[key] = (least, Pick(columns, list(map(tuple, options.tolist())), self._table(amounts - least)) if columns else None)
        return self._picks[key]

    def _table(self, extras: Amounts) -> Table:
        return self._tables.setdefault((extras.shape, extras.tobytes()), Table(extras))
