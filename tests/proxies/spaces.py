"""Small spaces of categorical choices for tests, and everything that is in them."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from proxies.band.additive_cost import AdditiveCost, CategoricalOption, Condition, Term


@dataclass(frozen=True)
class Space:
    slots: Mapping[str, tuple[CategoricalOption, ...]]
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    shape_slots: Sequence[str] = ()
    name: str = "small"


Member = tuple[tuple[str, CategoricalOption], ...]
"""The options of the slots that count."""


def members_of(space: Space, cost: AdditiveCost, quantities: Sequence[str]) -> dict[Member, tuple[int, ...]]:
    """All distinct members and what they cost, straight from the definitions."""
    found = {}
    for options in itertools.product(*space.slots.values()):
        chosen: dict[str, CategoricalOption] = {}
        for slot, option in zip(space.slots, options, strict=True):
            controlling, allowed = space.conditions.get(slot, (None, frozenset()))
            if controlling is None or (controlling in chosen and chosen[controlling] in allowed):
                chosen[slot] = option
        found[tuple(chosen.items())] = tuple(
            sum(int(cost_of_term(term, quantity, space, chosen)) for term in cost) for quantity in quantities
        )
    return found


def cost_of_term(term: Term, quantity: str, space: Space, chosen: Mapping[str, CategoricalOption]) -> NDArray[np.int64] | int:
    if quantity not in term.costs or not all(slot in chosen for slot in term.slots):
        return 0
    return term.costs[quantity][tuple(space.slots[slot].index(chosen[slot]) for slot in term.slots)]


def greatest_term(peaks: AdditiveCost, quantity: str, space: Space, chosen: Mapping[str, CategoricalOption]) -> int:
    return max(int(cost_of_term(term, quantity, space, chosen)) for term in peaks)


@st.composite
def terms_over(draw: st.DrawFn, space: Space, quantity: str) -> AdditiveCost:
    """Terms over up to three slots of a space."""
    terms = []
    for _ in range(draw(st.integers(1, 4))):
        over = tuple(draw(st.lists(st.sampled_from(list(space.slots)), unique=True, max_size=3)))
        shape = tuple(len(space.slots[slot]) for slot in over)
        count = int(np.prod(shape))
        costs = draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
        terms.append(Term(over, {quantity: np.array(costs, dtype=np.int64).reshape(shape)}))
    return terms


@st.composite
def small_spaces(draw: st.DrawFn, quantities: Sequence[str], most: int = 10**6) -> tuple[Space, AdditiveCost]:
    """Up to some hundred members with conditions, some on conditional slots, and terms over up to three slots or none."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    slots = {f"slot{i}": tuple(f"option{j}" for j in range(size)) for i, size in enumerate(sizes)}
    names = list(slots)
    conditions = {}
    for i, name in enumerate(names[1:], start=1):
        if draw(st.booleans()):
            controlling = draw(st.sampled_from(names[:i]))
            conditions[name] = (controlling, frozenset(draw(st.sets(st.sampled_from(slots[controlling])))))
    terms = []
    amounts = st.integers(0, 5) if draw(st.booleans()) else st.integers(0, most)
    for _ in range(draw(st.integers(1, 6))):
        over = tuple(draw(st.lists(st.sampled_from(names), unique=True, max_size=3)))
        shape = tuple(len(slots[slot]) for slot in over)
        count = int(np.prod(shape))
        table = {
            quantity: np.array(draw(st.lists(amounts, min_size=count, max_size=count)), dtype=np.int64).reshape(shape)
            for quantity in quantities
            if draw(st.integers(0, 9))
        }
        terms.append(Term(over, table))
    terms.append(Term((), {quantity: np.array(draw(amounts)) for quantity in quantities}))
    shape_slots = draw(st.lists(st.sampled_from(names), unique=True, max_size=2))
    return Space(slots, conditions, shape_slots), terms


def staged_space(seed: int, stages: int = 4, blocks: int = 4, mixers: int = 8, ratios: int = 3) -> tuple[Space, AdditiveCost]:
    """Forty slots with the defaults: a width and a depth a stage, a mixer and a ratio a block, random costs of three quantities."""
    rng = np.random.default_rng(seed)
    slots: dict[str, tuple[CategoricalOption, ...]] = {}
    conditions: dict[str, Condition] = {}
    terms = []
    widths = (1.0, 1.5, 2.0, 2.5)

    def priced(*shape: int, scale: object = 1.0) -> dict[str, NDArray[np.int64]]:
        scales = {"macs": 1e6, "params": 1e4, "latency": 1e5}
        return {quantity: (rng.uniform(0.3, 1, shape) * scale * size).astype(np.int64) for quantity, size in scales.items()}

    for i in range(1, stages + 1):
        slots |= {f"stage{i}.width": tuple(int(32 * i * width) for width in widths), f"stage{i}.depth": tuple(range(2, blocks + 1))}
        wide = np.array(widths)[:, None, None]
        for j in range(1, blocks + 1):
            own = (f"stage{i}.block{j}.mixer", f"stage{i}.block{j}.ratio")
            slots |= {own[0]: tuple(f"mixer{k}" for k in range(mixers)), own[1]: tuple(range(1, ratios + 1))}
            if j > 2:
                conditions |= dict.fromkeys(own, (f"stage{i}.depth", frozenset(range(j, blocks + 1))))
        block = priced(len(widths), mixers, ratios, scale=wide * np.arange(1, ratios + 1))
        terms += [
            Term((f"stage{i}.width", f"stage{i}.block{j}.mixer", f"stage{i}.block{j}.ratio"), block) for j in range(1, blocks + 1)
        ]
        before = (f"stage{i - 1}.width",) if i > 1 else ()
        terms.append(Term((*before, f"stage{i}.width"), priced(*(len(widths),) * (len(before) + 1))))
    shape_slots = [name for name in slots if "block" not in name]
    return Space(slots, conditions, shape_slots, "staged"), terms
