"""The band of a search space: members as architectures, multiply-adds and parameters from its cost tables."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from proxies.band.additive_cost import AdditiveCost, CostTable, Row
from proxies.band.band import Band
from proxies.band.space_cost import space_cost, space_training_memory
from proxies.band.space_memory import space_peaks
from proxies.cost import Budget
from proxies.memory_quantity import ACTIVATIONS, batch_of
from space.architecture import Architecture, BlockSpec, StageSpec
from space.errors import SpaceError
from space.search_space import SearchSpace


class ArchitectureBand(Band):
    """The architectures of a search space that a budget admits.

    Args:
        latencies: further costs over the space's slots, for limits on quantities other than `macs`, `params` and memory.
    """

    space: SearchSpace

    def __init__(self, space: SearchSpace, budget: Budget, latencies: Sequence[AdditiveCost] = ()) -> None:
        self._latencies = tuple(latencies)
        peaks = space_peaks(space) if ACTIVATIONS in budget.limits else ()
        of_training = [
            space_training_memory(space, quantity, batch) for quantity in budget.limits if (batch := batch_of(quantity)) is not None
        ]
        further = itertools.chain.from_iterable((*of_training, *latencies))
        super().__init__(space, (*space_cost(space), *further), budget, peaks)
        # Stem and head come first where there are several, then stage by stage: width, depth and feed-forward network, then two a block.
        self._surroundings = [(name, getattr(space, name)) for name in ("stem", "head") if name in space.slots]
        first = len(self._surroundings)
        ends = (first + np.cumsum([3 + 2 * stage.depths[-1] for stage in space.stages])).tolist()
        self._spans = list(zip([first, *ends], ends, strict=False))
        self._template = space.smallest()
        # What all members share, and the parts below, have been checked, so that members need not be.
        self._fixed = {name: getattr(self._template, name) for name in Architecture.model_fields if name != "stages"}
        self._stage = lru_cache(maxsize=2**14)(self._build_stage)
        self._block = lru_cache(maxsize=2**12)(self._build_block)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.space, self.budget, self._latencies)

    def architecture(self, row: Row) -> Architecture:
        """The architecture of a canonical row."""
        values = row.tolist()
        stages = tuple(self._stage(i, tuple(values[start:end])) for i, (start, end) in enumerate(self._spans))
        chosen = {name: offered[value] for (name, offered), value in zip(self._surroundings, values, strict=False)}
        return Architecture.model_construct(**self._fixed | chosen, stages=stages)

    def row_of(self, architecture: Architecture) -> Row:
        """The canonical row of an architecture; SpaceError outside the space."""
        return self.rows.row(self.space.parameters_of(architecture))

    def draw(self, rng: random.Random) -> Architecture:
        """Draw as `sample` does."""
        return self.architecture(self.sample(rng))

    def contains(self, architecture: Architecture) -> bool:
        """Whether an architecture belongs to the space and the budget admits it."""
        try:
            return bool(self.admits(self.row_of(architecture)[None])[0])
        except SpaceError:
            return False

    def costs_of(self, row: Row) -> dict[str, int]:
        """What the member of a canonical row costs: `macs`, `params`, every latency, and memory where the budget limits it."""
        tables = [self._all_costs, *([self._peak_table] if self._peak_table else [])]
        return {quantity: int(cost) for table in tables for quantity, cost in zip(table.quantities, table(row[None])[0], strict=True)}

    @cached_property
    def _all_costs(self) -> CostTable:
        return CostTable(self.rows, self.cost, list(dict.fromkeys(quantity for term in self.cost for quantity in term.costs)))

    def _build_stage(self, i: int, values: tuple[int, ...]) -> StageSpec:
        stage = self.space.stages[i]
        width, depth, ffn = values[:3]
        blocks = tuple(self._block(i, ffn, *values[3 + 2 * j : 5 + 2 * j]) for j in range(stage.depths[depth]))
        fixed = {name: getattr(self._template.stages[i], name) for name in StageSpec.model_fields}
        return StageSpec.model_construct(**fixed | {"width": stage.widths[width], "blocks": blocks})

    def _build_block(self, i: int, ffn: int, position: int, mixer: int) -> BlockSpec:
        stage = self.space.stages[i]
        return BlockSpec(position=stage.positions[position], mixer=self.space.mixers[i][mixer], ffn=stage.ffns[ffn])
