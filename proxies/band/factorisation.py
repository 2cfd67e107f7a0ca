"""A space and its cost as a row of sections, for dynamic programming.

Some slots are shared: shape slots, slots that switch others on, and slots in several terms. Once these are fixed, the others fall into
independent choices with a small table of costs each. In a staged space a stage is a section: its width, depth and feed-forward network are
shared, and every block is a choice. Sections depend on each other only through a few shared slots, such as the width before.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxies.band.additive_cost import AdditiveCost, CategoricalSpace, Costs, Rows
from proxies.band.restrictions import Restriction
from proxies.cost import BudgetError

MAX_OPTIONS = 10_000
"""Combinations of options of one independent choice."""
MAX_STATES = 4096
"""Ways to fill the shared slots of one section, for all values of the earlier slots that it depends on."""

Indices = tuple[int, ...]
"""Indices of options, -1 for inactive slots."""
Term = tuple[list[int], Costs]
"""The columns of a term's slots, and its table."""
Allowed = tuple[list[int], NDArray[np.bool_]]
"""The columns of a restriction's slots, and the combinations that it allows."""


class CouplingError(BudgetError):
    """A space whose terms couple too many slots for its band to be counted."""


@dataclass(frozen=True, eq=False)
class Table:
    """What the options of a choice cost beyond the cheapest, (options, quantities). Equal tables are one object."""

    extras: Costs


@dataclass(frozen=True, eq=False)
class IndependentChoice:
    """An independent choice: the columns it fills, its options, each a combination, and what these cost."""

    columns: list[int]
    options: list[Indices]
    table: Table


@dataclass(frozen=True, eq=False)
class State:
    """One way to fill a section's shared slots.

    Args:
        before, after: the shared slots that link the section with earlier ones, and it with later ones.
        values: of the section's own shared slots; `shape` are those of shape slots.
        base: the least that the section costs, (quantities,).
        choices: those that are left.
    """

    before: Indices
    after: Indices
    values: Indices
    shape: Indices
    base: Costs
    choices: tuple[IndependentChoice, ...]


@dataclass(frozen=True)
class Section:
    """Some shared slots, by column, and all ways to fill them."""

    columns: list[int]
    states: list[State]


@dataclass
class _Group:
    """The slots of an independent choice, the terms and restrictions they occur in, and the shared slots that these depend on.

    Args:
        costing: those of the shared slots that costs or conditions depend on.
    """

    columns: list[int]
    terms: list[Term]
    restrictions: list[Allowed]
    context: set[int]
    costing: set[int]


def factorise(
    space: CategoricalSpace, rows: Rows, cost: AdditiveCost, quantities: Sequence[str], restrictions: Iterable[Restriction] = ()
) -> list[Section]:
    """The sections of what restrictions leave of a space, for some quantities of a cost; none where they leave nothing.

    Raises CouplingError where too many slots depend on each other.
    """
    return _Factorisation(space, rows, cost, quantities, tuple(restrictions)).sections


class _Factorisation:
    def __init__(
        self, space: CategoricalSpace, rows: Rows, cost: AdditiveCost, quantities: Sequence[str], restrictions: Sequence[Restriction]
    ) -> None:
        self._name, self._rows, self._num_quantities = space.name, rows, len(quantities)
        terms = [(columns := rows.columns(term.slots), term.table(rows.sizes[columns], quantities)) for term in cost]
        self._restrictions: list[Allowed] = [(rows.columns(one.slots), one.allowed) for one in restrictions]
        scopes = {frozenset(columns) for columns, _ in terms}
        scopes = {scope for scope in scopes if not any(scope < other for other in scopes)}
        uses = Counter(column for scope in scopes for column in scope)
        self._shape = set(rows.columns(space.shape_slots))
        shared = self._shape | {controller for controller, _ in rows.conditions.values()} | {column for column in uses if uses[column] > 1}
        # A restriction within one choice, given the shared slots, leaves the choices as they are. Others couple them.
        within = [scope | shared for scope in scopes]
        coupling = {frozenset(columns) for columns, _ in self._restrictions if not any(scope.issuperset(columns) for scope in within)}
        scopes |= coupling
        uses.update(column for scope in coupling for column in scope)
        shared |= {column for column in uses if uses[column] > 1}
        # Every other slot occurs in one scope at most.
        free = {scope - shared for scope in scopes} | {frozenset({column}) for column in range(len(rows.names)) if column not in uses}
        free -= {frozenset()} | {frozenset({column}) for column in shared}
        groups = [self._group(sorted(columns), terms, shared) for columns in sorted(free, key=min)]
        slots = _split(sorted(shared), groups)
        section_of = {column: i for i, columns in enumerate(slots) for column in columns}

        def last_section(columns: Iterable[int]) -> int:
            return max((section_of[column] for column in columns), default=0)

        # By section: the terms and restrictions that its shared slots decide alone, and the choices whose context ends in it.
        self._fixed: list[list[Term]] = [[] for _ in slots]
        self._fixed_restrictions: list[list[Allowed]] = [[] for _ in slots]
        self._groups: list[list[_Group]] = [[] for _ in slots]
        for columns, table in terms:
            if shared.issuperset(columns):
                self._fixed[last_section(columns)].append((columns, table))
        for columns, allowed in self._restrictions:
            if shared.issuperset(columns):
                self._fixed_restrictions[last_section(columns)].append((columns, allowed))
        for group in groups:
            self._groups[last_section(group.context)].append(group)
        self._tables: dict[tuple[tuple[int, ...], bytes], Table] = {}
        self._choices: dict[tuple[int, Indices], tuple[Costs, IndependentChoice | None] | None] = {}
        self.sections = self._sections(slots)

    def _sections(self, slots: list[list[int]]) -> list[Section]:
        links, sections = self._links(slots), []
        befores: dict[Indices, None] = {(): None}
        for i, columns in enumerate(slots):
            states = list(itertools.islice((
                state
                for before in befores
                for known in self._fillings(columns, dict(zip(links[i], before, strict=True)))
                if (state := self._state(i, columns, before, known, links[i + 1]))
            ), MAX_STATES + 1))  # fmt: skip
            if len(states) > MAX_STATES:
                raise self._refusal(", ".join(self._rows.names[column] for column in (*links[i], *columns)), MAX_STATES)
            sections.append(Section(columns, states))
            befores = dict.fromkeys(state.after for state in states)
        afters = {()} if befores else set[Indices]()
        for section in reversed(sections):
            # Where a later section is left without a state, the ways that lead there end nowhere.
            section.states[:] = [state for state in section.states if state.after in afters]
            afters = {state.before for state in section.states}
        return sections if afters else []

    def _refusal(self, names: str, most: int) -> CouplingError:
        return CouplingError(
            f"{self._name}: got costs that couple {names:.200}, "
            f"expected terms over so few slots that these have at most {most} combinations")

    def _group(self, columns: list[int], terms: list[Term], shared: set[int]) -> _Group:
        if math.prod(self._rows.sizes[columns].tolist()) > MAX_OPTIONS:
            raise self._refusal(", ".join(self._rows.names[column] for column in columns), MAX_OPTIONS)
        own = [(over, table) for over, table in terms if not set(columns).isdisjoint(over)]
        restricted = [(over, allowed) for over, allowed in self._restrictions if not set(columns).isdisjoint(over)]
        costing = {column for over, _ in own for column in over} & shared
        costing |= {self._rows.conditions[column][0] for column in columns if column in self._rows.conditions}
        return _Group(columns, own, restricted, costing | {column for over, _ in restricted for column in over} & shared, costing)

    def _links(self, slots: list[list[int]]) -> list[list[int]]:
        """By section, the earlier shared slots that it or a later one depends on; none at either end."""
        needed: set[int] = set()
        links: list[list[int]] = [[]]
        fixed = zip(slots, self._fixed, self._fixed_restrictions, self._groups, strict=True)
        for columns, terms, restrictions, groups in reversed(list(fixed)):
            needed |= {column for over, _ in (*terms, *restrictions) for column in over}.union(*(group.context for group in groups))
            needed |= {self._rows.conditions[column][0] for column in columns if column in self._rows.conditions}
            needed -= set(columns)
            links.append(sorted(needed))
        return links[::-1]

    def _fillings(self, columns: list[int], known: dict[int, int]) -> Iterator[dict[int, int]]:
        """All ways to fill some slots beside those known."""
        if not columns:
            yield known
            return
        first, *others = columns
        for option in range(self._rows.sizes[first]) if self._is_active(first, known) else (-1,):
            yield from self._fillings(others, known | {first: option})

    def _is_active(self, column: int, known: dict[int, int]) -> bool:
        if column not in self._rows.conditions:
            return True
        controller, allowed = self._rows.conditions[column]
        return known[controller] >= 0 and bool(allowed[known[controller]])

    def _state(self, i: int, columns: list[int], before: Indices, known: dict[int, int], link: list[int]) -> State | None:
        """The state of some filled slots; None where it is not allowed, or leaves a choice without an option."""
        for over, allowed in self._fixed_restrictions[i]:
            values = tuple(known[column] for column in over)
            if -1 not in values and not allowed[values]:
                return None
        base, choices = np.zeros(self._num_quantities, dtype=np.int64), []
        for over, table in self._fixed[i]:
            values = tuple(known[column] for column in over)
            if -1 not in values:
                base = base + table[values]
        for group in self._groups[i]:
            found = self._choice(group, known)
            if found is None:
                return None
            least, choice = found
            base = base + least
            choices += [choice] if choice else []
        values, shape = (tuple(known[column] for column in some) for some in (columns, [one for one in columns if one in self._shape]))
        return State(before, tuple(known[column] for column in link), values, shape, base, tuple(choices))

    def _choice(self, group: _Group, known: dict[int, int]) -> tuple[Costs, IndependentChoice | None] | None:
        """The least that a group costs, and the choice that it leaves where any of its slots is active; None where no option is left."""
        key = group.columns[0], tuple(known[column] for column in sorted(group.context))
        if key not in self._choices:
            columns = [column for column in group.columns if self._is_active(column, known)]
            sizes = self._rows.sizes[columns].tolist()
            options = np.indices(sizes).reshape(len(sizes), math.prod(sizes)).T
            for over, allowed in group.restrictions:
                values = self._values(over, columns, options, known)
                if values is not None:
                    options = options[allowed[values]]
            if not len(options):
                self._choices[key] = None
                return None
            costs = np.zeros((len(options), self._num_quantities), dtype=np.int64)
            for over, of_term in group.terms:
                values = self._values(over, columns, options, known)
                if values is not None:
                    costs += of_term[values]
            least = costs.min(axis=0)
            extras = costs - least
            table = self._tables.setdefault((extras.shape, extras.tobytes()), Table(extras))
            self._choices[key] = least, IndependentChoice(columns, list(map(tuple, options.tolist())), table) if columns else None
        return self._choices[key]


    @staticmethod
    def _values(over: list[int], columns: list[int], options: NDArray[np.int64], known: dict[int, int]) -> tuple[Any, ...] | None:
        """Where the entries of options are in a table over some columns; None where one of these is inactive."""
        values = tuple(options[:, columns.index(column)] if column in columns else known.get(column, -1) for column in over)
        return None if any(isinstance(value, int) and value < 0 for value in values) else values


def _split(shared: list[int], groups: list[_Group]) -> list[list[int]]:
    """Shared slots by section: neighbours that the cost of the same choice depends on are in one."""
    sections: list[list[int]] = []
    for column in shared:
        if sections and any(column in group.costing and not group.costing.isdisjoint(sections[-1]) for group in groups):
            sections[-1].append(column)
        else:
            sections.append([column])
    return sections or [[]]
