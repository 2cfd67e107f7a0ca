"""The made-up searches that `samplers.py` measures on: spaces, costs that add up, and accuracies that do not.

Every problem is a function of its instance's number. Accuracies are points; a member's noise is its own for good, as that of one
training with one seed is.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from proxies.band.additive_cost import AdditiveCost, CategoricalOption, Condition, CostTable, Rows, Term
from proxies.cost import Budget

Accuracy = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Accuracies (n,) of canonical rows (n, slots)."""


@dataclass(frozen=True)
class Space:
    """A `CategoricalSpace`."""

    name: str
    slots: Mapping[str, tuple[CategoricalOption, ...]]
    conditions: Mapping[str, Condition]
    shape_slots: Sequence[str]


@dataclass(frozen=True)
class Problem:
    """A space with costs, a budget, and what its members score.

    Args:
        truth: accuracies without noise.
        noise: standard deviation of each member's own noise, in points.
    """

    name: str
    space: Space
    cost: AdditiveCost
    budget: Budget
    truth: Accuracy
    noise: float
    instance: int

    @cached_property
    def rows(self) -> Rows:
        """The space's members as rows."""
        return Rows(self.space)

    def score(self, row: NDArray[np.int64]) -> float:
        """What an evaluation of one member says."""
        own = np.random.default_rng([self.instance, zlib.crc32(row.tobytes())])
        return float(self.truth(row[None])[0]) + self.noise * float(own.normal())


def all_rows(rows: Rows) -> NDArray[np.int64]:
    """All members of a small space, canonical and each once."""
    grid = np.indices(tuple(rows.sizes)).reshape(len(rows.sizes), -1).T
    return np.unique(rows.canonical(grid), axis=0)


def random_rows(rows: Rows, count: int, seed: int) -> NDArray[np.int64]:
    """Members whose slots are all drawn evenly."""
    return rows.canonical(np.random.default_rng(seed).integers(rows.sizes, size=(count, len(rows.sizes))))


# Staged spaces: widths and depths by stage, a mixer and a ratio by block.


def staged_space(stages: int, widths: int, depths: int, mixers: int, ratios: int) -> Space:
    """A space of stages, each with that many widths and depths, and blocks with that many mixers and ratios."""
    slots: dict[str, tuple[CategoricalOption, ...]] = {}
    conditions: dict[str, Condition] = {}
    shape: list[str] = []
    for i in range(1, stages + 1):
        slots[f"stage{i}.width"] = tuple(8 * 2**i * (4 + option) for option in range(widths))
        slots[f"stage{i}.depth"] = tuple(range(1, depths + 1))
        shape += [f"stage{i}.width", f"stage{i}.depth"]
        for j in range(1, depths + 1):
            block: dict[str, tuple[CategoricalOption, ...]] = {f"stage{i}.block{j}.mixer": tuple(f"mixer{k}" for k in range(mixers))}
            if ratios > 1:
                block[f"stage{i}.block{j}.ratio"] = tuple(range(2, 2 + ratios))
            slots |= block
            if j > 1:
                conditions |= dict.fromkeys(block, (f"stage{i}.depth", frozenset(range(j, depths + 1))))
    return Space(f"staged-{len(slots)}", slots, conditions, tuple(shape))


def staged_cost(space: Space, rng: np.random.Generator) -> AdditiveCost:
    """MACs that grow with the square of widths, and a latency that has another opinion of the mixers."""
    num_mixers = max(len(options) for name, options in space.slots.items() if name.endswith("mixer"))
    macs_of, latency_of = rng.uniform(1, 5, num_mixers), rng.uniform(1, 5, num_mixers)
    terms = [Term((), {"macs": np.array(3_000_000), "latency": np.array(200_000)})]
    for name, options in space.slots.items():
        stage, _, part = name.rpartition(".")
        if part not in {"mixer", "ratio"}:
            continue
        number = int(stage.removeprefix("stage").partition(".")[0])
        width_slot = f"stage{number}.width"
        widths = np.array(space.slots[width_slot], dtype=float)[:, None]
        tokens = 3136 / 4**number
        factors = macs_of if part == "mixer" else 2 * np.array(options, dtype=float)
        times = latency_of if part == "mixer" else np.array(options, dtype=float)
        costs = {"macs": tokens * widths**2 * factors, "latency": 40 * tokens * widths * times + 20_000 * times}
        terms.append(Term((width_slot, name), {key: np.rint(value).astype(np.int64) for key, value in costs.items()}))
    return terms


@dataclass(frozen=True)
class Interactions:
    """How choices act together.

    Args:
        spreads: standard deviation over random members of the sum of single effects, of those of pairs and of triples, in points.
        a_slot: in how many pairs a slot takes part, and in how many triples.
    """

    spreads: tuple[float, float, float]
    a_slot: int


GENTLE = Interactions((1.5, 0.75, 0.4), a_slot=2)
RUGGED = Interactions((1.5, 1.0, 0.5), a_slot=8)
"""Far more pairs than a search can learn one by one."""


class Effects:
    """Accuracies made of random effects of single slots, of pairs and of triples; where one of them does not count, there is none.

    Args:
        interactions: how many pairs and triples there are, and how much they count.
    """

    def __init__(self, space: Space, rng: np.random.Generator, interactions: Interactions) -> None:
        self._rows = Rows(space)
        slots = len(self._rows.sizes)
        sample = random_rows(self._rows, 2000, seed=int(rng.integers(2**32)))
        ordered = [name.endswith(("width", "depth", "ratio")) for name in self._rows.names]
        self._orders: list[tuple[float, list[tuple[tuple[int, ...], NDArray[np.float64]]]]] = []
        for order, spread in enumerate(interactions.spreads, start=1):
            groups = list(itertools.combinations(range(slots), order))
            chosen = [groups[i] for i in rng.permutation(len(groups))[: interactions.a_slot * slots // order]] if order > 1 else groups
            tables = [rng.normal(size=tuple(self._rows.sizes[list(group)])) for group in chosen]
            if order == 1:  # More of what costs more is better: that is what makes a budget bind.
                tables = [np.sort(table) if ordered[group[0]] else table for group, table in zip(chosen, tables, strict=True)]
            effects = list(zip(chosen, tables, strict=True))
            self._orders.append((spread / float(self._sum(effects, sample).std()), effects))

    def __call__(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.sum([scale * self._sum(effects, rows) for scale, effects in self._orders], axis=0) + 75

    def _sum(self, effects: Sequence[tuple[tuple[int, ...], NDArray[np.float64]]], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        active = self._rows.active(rows)
        total = np.zeros(len(rows))
        for group, table in effects:
            columns = list(group)
            total += table[tuple(rows[:, columns].T)] * active[:, columns].all(axis=1)
        return total


def staged_problem(instance: int, share: float, interactions: Interactions) -> Problem:
    """40 genes; a budget whose band, its upper tenth, holds a share of random members, below the most frequent cost."""
    space = staged_space(stages=4, widths=3, depths=4, mixers=8, ratios=3)
    rng = np.random.default_rng([1, instance])
    cost = staged_cost(space, rng)
    truth = Effects(space, rng, interactions)
    budget = Budget({"macs": limit_of(space, cost, share)})
    return Problem(f"staged, {share:.1%} of random members", space, cost, budget, truth, 0.3, instance)


def limit_of(space: Space, cost: AdditiveCost, share: float, floor: float = 0.9, count: int = 200_000) -> int:
    """The least limit on MACs whose band holds a share of random members."""
    rows = Rows(space)
    costs = np.sort(CostTable(rows, cost, ("macs",))(random_rows(rows, count, seed=0))[:, 0])
    inside = np.arange(1, count + 1) - np.searchsorted(costs, floor * costs)
    # From the 100th on: fewer random members than that tell no share.
    return int(costs[100:][np.argmax(inside[100:] >= share * count)])


def mini_problem(instance: int, limits: Sequence[str]) -> Problem:
    """Two stages of up to three blocks, 63,504 members, under the median of MACs, and also of latency where that is limited."""
    space = staged_space(stages=2, widths=3, depths=3, mixers=4, ratios=1)
    rng = np.random.default_rng([2, instance])
    cost = staged_cost(space, rng)
    truth = Effects(space, rng, GENTLE)
    rows = Rows(space)
    medians = np.median(CostTable(rows, cost, limits)(all_rows(rows)), axis=0)
    budget = Budget({limit: int(median) for limit, median in zip(limits, medians, strict=True)}, floor=0.5)
    return Problem(f"mini-space, {' + '.join(limits)}", space, cost, budget, truth, 0.0, instance)


# Spaces of sizes alone, in which the number of parameters explains most.


def sizes_problem(instance: int) -> Problem:
    """Width, depth and ratio of four stages; doubling the parameters is worth three points, all else much less than that.

    The budget is on MACs, of which early stages have more than their share: a search has to move them to late stages.
    """
    slots: dict[str, tuple[CategoricalOption, ...]] = {}
    for i in range(1, 5):
        slots |= {f"stage{i}.width": tuple(8 * 2**i * (4 + option) for option in range(6)), f"stage{i}.depth": (1, 2, 3, 4, 6)}
        slots[f"stage{i}.ratio"] = (2, 3, 4)
    space = Space("sizes", slots, {}, tuple(name for name in slots if name.endswith("depth")))
    rng = np.random.default_rng([4, instance])
    terms = [Term((), {"macs": np.array(3_000_000)})]
    params = []
    for i in range(1, 5):
        names = (f"stage{i}.width", f"stage{i}.depth", f"stage{i}.ratio")
        widths, depths, ratios = np.meshgrid(*(np.array(slots[name], dtype=float) for name in names), indexing="ij")
        params.append(widths**2 * depths * (4 + 2 * ratios))
        terms.append(Term(names, {"macs": np.rint(params[-1] * 3136 / 4**i).astype(np.int64)}))
    effects = Effects(space, rng, Interactions((0.5, 0.3, 0.2), a_slot=2))

    def truth(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        total = np.sum([table[tuple(rows[:, 3 * i : 3 * i + 3].T)] for i, table in enumerate(params)], axis=0)
        return effects(rows) + 3 * np.log2(total / 1e6)

    return Problem("sizes", space, terms, Budget({"macs": limit_of(space, terms, 0.05)}), truth, 0.3, instance)

