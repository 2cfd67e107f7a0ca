"""What the members of a search space cost in multiply-adds and parameters, as terms over its slots.

Whatever stands before a stage's blocks depends on two widths, a block on its stage's width and feed-forward network and
on its own position and mixer, the head on the last width. Tables over these few choices know every member's cost.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from proxies.cost import Cost
from proxies.macs import part_cost
from proxies.terms import Term
from space.architecture import MAX_BLOCKS, BlockSpec, Part, StageSpec
from space.registry import Spec
from space.search_space import SearchSpace

QUANTITIES = ("macs", "params")

Block = tuple[Spec, Spec, Spec]
"""Feed-forward network, position and mixer."""


class SpaceCosts:
    """An `AdditiveCost` of the quantities `macs` and `params`, equal to `cost_of` for every member of the space."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._template = space.smallest()

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """One term before every stage, one a block, and one behind the last stage."""
        return (*self._surroundings(), *self._blocks())

    def _surroundings(self) -> list[Term]:
        """What everything but blocks costs, for every pair of neighbouring widths."""
        stages = self.space.stages
        counts = [len(stage.widths) for stage in stages]
        tables = [_zeros(counts[max(i - 1, 0):i + 1]) for i in range(len(stages))] + [_zeros(counts[-1:])]
        # Even stages take one width and odd stages another: all pairs of neighbours come by.
        for pair in itertools.product(range(max(counts)), repeat=2):
            chosen = [min(pair[i % 2], count - 1) for i, count in enumerate(counts)]
            first = [(stage.ffns[0], stage.positions[0], mixers[0]) for stage, mixers in zip(stages, self.space.mixers, strict=True)]
            costs = [Cost(0, 0)] * (len(stages) + 1)
            for part in self._parts(chosen, [[block] for block in first]):
                if ".blocks." not in part.path:
                    costs[_stage_of(part, len(stages))] += part_cost(part)
            for i, (table, cost) in enumerate(zip(tables, costs, strict=True)):
                table[tuple(chosen[max(i - 1, 0):i + 1])] = [cost[quantity] for quantity in QUANTITIES]
        names = [f"stage{i}.width" for i in range(1, len(stages) + 1)]
        return [_term(names[max(i - 1, 0):i + 1], table) for i, table in enumerate(tables)]

    def _blocks(self) -> list[Term]:
        """What every block costs, by networks whose stages hold one block of every kind."""
        kinds = [
            list(itertools.product(stage.ffns, stage.positions, mixers))
            for stage, mixers in zip(self.space.stages, self.space.mixers, strict=True)
        ]
        costs: list[list[Cost]] = [[] for _ in kinds]
        widths = [range(len(stage.widths)) for stage in self.space.stages]
        for chosen in itertools.zip_longest(*widths):
            for runs in itertools.zip_longest(*(_runs(stage) for stage in kinds)):
                blocks = [run or stage[:1] for run, stage in zip(runs, kinds, strict=True)]
                found = [[Cost(0, 0)] * len(stage) for stage in blocks]
                for part in self._parts([width or 0 for width in chosen], blocks):
                    if ".blocks." in part.path:
                        _, stage_index, _, block_index, *_ = part.path.split(".")
                        found[int(stage_index)][int(block_index)] += part_cost(part)
                for i, (width, run) in enumerate(zip(chosen, runs, strict=True)):
                    if width is not None and run is not None:
                        costs[i] += found[i]
        terms = []
        for i, (stage, mixers) in enumerate(zip(self.space.stages, self.space.mixers, strict=True), start=1):
            shape = (len(stage.widths), len(stage.ffns), len(stage.positions), len(mixers), len(QUANTITIES))
            table = np.array([[cost[quantity] for quantity in QUANTITIES] for cost in costs[i - 1]], dtype=np.int64).reshape(shape)
            for j in range(1, stage.depths[-1] + 1):
                block = f"stage{i}.block{j}"
                terms.append(_term([f"stage{i}.width", f"stage{i}.ffn", f"{block}.position", f"{block}.mixer"], table))
        return terms

    def _parts(self, widths: Sequence[int], blocks: Sequence[Sequence[Block]]) -> tuple[Part, ...]:
        """The parts of a network with these blocks, of which there may be more than the space offers."""
        stages = tuple(
            StageSpec(
                width=stage.widths[width],
                downsample=stage.downsample,
                blocks=tuple(BlockSpec(position=position, mixer=mixer, ffn=ffn) for ffn, position, mixer in many),
            )
            for stage, width, many in zip(self.space.stages, widths, blocks, strict=True)
        )
        return self._template.replace(stages=stages).parts


def _zeros(shape: Sequence[int]) -> NDArray[np.int64]:
    return np.zeros((*shape, len(QUANTITIES)), dtype=np.int64)


def _term(slots: Sequence[str], table: NDArray[np.int64]) -> Term:
    return Term(tuple(slots), {quantity: table[..., place] for place, quantity in enumerate(QUANTITIES)})


def _runs(kinds: list[Block]) -> list[list[Block]]:
    return [kinds[start:start + MAX_BLOCKS] for start in range(0, len(kinds), MAX_BLOCKS)]


def _stage_of(part: Part, num_stages: int) -> int:
    """The stage before whose blocks a part stands; `num_stages` behind the last one's."""
    if part.path == "stem":
        return 0
    if part.path == "head":
        return num_stages
    _, index, place = part.path.split(".")
    return int(index) + (place == "norm")
