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

import numpy as np

from proxies.band.additive_cost import AdditiveCost, CategoricalSpace, Costs, Rows
from proxies.cost import BudgetError

MAX_OPTIONS = 10_000
"""Combinations of options of one independent choice."""
MAX_STATES = 4096
"""Ways to fill the shared slots of one section, for all values of the earlier slots that it depends on."""

Indices = tuple[int, ...]
"""Indices of options, -1 for inactive slots."""
Term = tuple[list[int], Costs]
"""The columns of a term's slots, and its table."""


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
    """The slots of an independent choice, the terms they occur in, and the shared slots that their costs or conditions depend on."""

    columns: list[int]
    terms: list[Term]
    context: set[int]


def factorise(space: CategoricalSpace, rows: Rows, cost: AdditiveCost, quantities: Sequence[str]) -> list[Section]:
    """The sections of a space, for some quantities of a cost.

    Raises CouplingError where too many slots depend on each other.
    """
    return _Factorisation(space, rows, cost, quantities).sections


class _Factorisation:
    def __init__(self, space: CategoricalSpace, rows: Rows, cost: AdditiveCost, quantities: Sequence[str]) -> None:
        self._name, self._rows, self._num_quantities = space.name, rows, len(quantities)
        terms = [(columns := rows.columns(term.slots), term.table(rows.sizes[columns], quantities)) for term in cost]
        scopes = {frozenset(columns) for columns, _ in terms}
        scopes = {scope for scope in scopes if not any(scope < other for other in scopes)}
        uses = Counter(column for scope in scopes for column in scope)
        self._shape = set(rows.columns(space.shape_slots))
        shared = self._shape | {controller for controller, _ in rows.conditions.values()} | {column for column in uses if uses[column] > 1}
        # Every other slot occurs in one scope at most.
        free = {scope - shared for scope in scopes} | {frozenset({column}) for column in range(len(rows.names)) if column not in uses}
        free -= {frozenset()} | {frozenset({column}) for column in shared}
        groups = [self._group(sorted(columns), terms, shared) for columns in sorted(free, key=min)]
        slots = _split(sorted(shared), groups)
        section_of = {column: i for i, columns in enumerate(slots) for column in columns}

        def last_section(columns: Iterable[int]) -> int:
            return max((section_of[column] for column in columns), default=0)

        # By section: the terms that its shared slots decide alone, and the choices whose context ends in it.
        self._fixed: list[list[Term]] = [[] for _ in slots]
        self._groups: list[list[_Group]] = [[] for _ in slots]
        for columns, table in terms:
            if shared.issuperset(columns):
                self._fixed[last_section(columns)].append((columns, table))
        for group in groups:
            self._groups[last_section(group.context)].append(group)
        self._tables: dict[tuple[tuple[int, ...], bytes], Table] = {}
        self._choices: dict[tuple[int, Indices], tuple[Costs, IndependentChoice | None]] = {}
        self.sections = self._sections(slots)

    def _sections(self, slots: list[list[int]]) -> list[Section]:
        links, sections = self._links(slots), []
        befores: dict[Indices, None] = {(): None}
        for i, columns in enumerate(slots):
            states = list(itertools.islice((
                self._state(i, columns, before, known, links[i + 1])
                for before in befores
                for known in self._fillings(columns, dict(zip(links[i], before, strict=True)))
            ), MAX_STATES + 1))  # fmt: skip
            if len(states) > MAX_STATES:
                raise self._refusal(", ".join(self._rows.names[column] for column in (*links[i], *columns)), MAX_STATES)
            sections.append(Section(columns, states))
            befores = dict.fromkeys(state.after for state in states)
        return sections

    def _refusal(self, names: str, most: int) -> CouplingError:
        return CouplingError(
            f"{self._name}: got costs that couple {names:.200}, "
            f"expected terms over so few slots that these have at most {most} combinations")

    def _group(self, columns: list[int], terms: list[Term], shared: set[int]) -> _Group:
        if math.prod(self._rows.sizes[columns].tolist()) > MAX_OPTIONS:
            raise self._refusal(", ".join(self._rows.names[column] for column in columns), MAX_OPTIONS)
        own = [(over, table) for over, table in terms if not set(columns).isdisjoint(over)]
        context = {column for over, _ in own for column in over} & shared
        return _Group(columns, own, context | {self._rows.conditions[column][0] for column in columns if column in self._rows.conditions})

    def _links(self, slots: list[list[int]]) -> list[list[int]]:
        """By section, the earlier shared slots that it or a later one depends on; none at either end."""
        needed: set[int] = set()
        links: list[list[int]] = [[]]
        for columns, terms, groups in reversed(list(zip(slots, self._fixed, self._groups, strict=True))):
            needed |= {column for over, _ in terms for column in over}.union(*(group.context for group in groups))
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

    def _state(self, i: int, columns: list[int], before: Indices, known: dict[int, int], link: list[int]) -> State:
        base, choices = np.zeros(self._num_quantities, dtype=np.int64), []
        for over, table in self._fixed[i]:
            values = tuple(known[column] for column in over)
            if -1 not in values:
                base = base + table[values]
        for group in self._groups[i]:
            least, choice = self._choice(group, known)
            base = base + least
            choices += [choice] if choice else []
        values, shape = (tuple(known[column] for column in some) for some in (columns, [one for one in columns if one in self._shape]))
        return State(before, tuple(known[column] for column in link), values, shape, base, tuple(choices))

    def _choice(self, group: _Group, known: dict[int, int]) -> tuple[Costs, IndependentChoice | None]:
        """The least that a group costs, and the choice that it leaves where any of its slots is active."""
        key = group.columns[0], tuple(known[column] for column in sorted(group.context))
        if key not in self._choices:
            columns = [column for column in group.columns if self._is_active(column, known)]
            sizes = self._rows.sizes[columns].tolist()
            options = np.indices(sizes).reshape(len(sizes), math.prod(sizes)).T
            costs = np.zeros((len(options), self._num_quantities), dtype=np.int64)
            for over, of_term in group.terms:
                values = [options[:, columns.index(column)] if column in columns else known.get(column, -1) for column in over]
                if not any(isinstance(value, int) and value < 0 for value in values):
                    costs += of_term[tuple(values)]
            least = costs.min(axis=0)
            extras = costs - least
            table = self._tables.setdefault((extras.shape, extras.tobytes()), Table(extras))
            self._choices[key] = least, IndependentChoice(columns, list(map(tuple, options.tolist())), table) if columns else None
        return self._choices[key]


def _split(shared: list[int], groups: list[_Group]) -> list[list[int]]:
    """Shared slots by section: neighbours that the same choice depends on are in one."""
    sections: list[list[int]] = []
    for column in shared:
        if sections and any(column in group.context and not group.context.isdisjoint(sections[-1]) for group in groups):
            sections[-1].append(column)
        else:
            sections.append([column])
    return sections or [[]]
