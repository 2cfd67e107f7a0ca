"""The band of a search space: members as architectures, multiply-adds and parameters from its cost tables."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxies.band.additive_cost import AdditiveCost, CostTable, Term
from proxies.band.band import Band
from proxies.band.space_costs import SpaceCosts
from proxies.cost import Budget
from space.architecture import Architecture, BlockSpec, StageSpec
from space.errors import SpaceError
from space.search_space import SearchSpace

Row = NDArray[np.int64]


@dataclass(frozen=True)
class SumOfCosts:
    """Several costs of one space in one: their terms, one after another."""

    terms: tuple[Term, ...]


class ArchitectureBand(Band):
    """The architectures of a search space that a budget admits.

    Args:
        latencies: further costs over the space's slots, for limits on quantities other than `macs` and `params`.
    """

    space: SearchSpace

    def __init__(self, space: SearchSpace, budget: Budget, latencies: Sequence[AdditiveCost] = ()) -> None:
        self._latencies = tuple(latencies)
        terms = (*SpaceCosts(space).terms, *(term for cost in latencies for term in cost.terms))
        super().__init__(space, SumOfCosts(terms), budget)
        self._template = space.smallest()
        # Slots come stage by stage: its width, depth and feed-forward network, then two a block.
        ends = np.cumsum([3 + 2 * stage.depths[-1] for stage in space.stages]).tolist()
        self._spans = list(zip([0, *ends], ends, strict=False))
        self._stage = lru_cache(maxsize=2**14)(self._build_stage)
        self._block = lru_cache(maxsize=2**12)(self._build_block)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.space, self.budget, self._latencies)

    def architecture(self, row: Row) -> Architecture:
        """The architecture of a canonical row."""
        values = row.tolist()
        stages = tuple(self._stage(i, tuple(values[start:end])) for i, (start, end) in enumerate(self._spans))
        return Architecture.model_construct(**self._fixed, stages=stages)

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

    def amounts(self, row: Row) -> dict[str, int]:
        """What the member of a canonical row costs: `macs`, `params` and every latency."""
        amounts = self._all_costs(row[None])[0]
        return dict(zip(self._all_costs.quantities, amounts.tolist(), strict=True))

    @cached_property
    def _all_costs(self) -> CostTable:
        quantities = dict.fromkeys(quantity for term in self.cost.terms for quantity in term.amounts)
        return CostTable(self.rows, self.cost.terms, list(quantities))

    @cached_property
    def _fixed(self) -> dict[str, Any]:
        """The fields that all members share. These and the parts below have been checked, so that members need not be."""
        return {name: getattr(self._template, name) for name in Architecture.model_fields if name != "stages"}

    def _build_stage(self, i: int, values: tuple[int, ...]) -> StageSpec:
        stage = self.space.stages[i]
        width, depth, ffn = values[:3]
        num_blocks = stage.depths[depth]
        blocks = tuple(self._block(i, ffn, *values[3 + 2 * j:5 + 2 * j]) for j in range(num_blocks))
        fixed = {name: getattr(self._template.stages[i], name) for name in StageSpec.model_fields}
        return StageSpec.model_construct(**fixed | {"width": stage.widths[width], "blocks": blocks})

    def _build_block(self, i: int, ffn: int, position: int, mixer: int) -> BlockSpec:
        stage = self.space.stages[i]
        return BlockSpec(position=stage.positions[position], mixer=self.space.mixers[i][mixer], ffn=stage.ffns[ffn])
