"""What every choice of a search space costs, and architectures as indices into these choices.

An architecture of a space is, a stage, a width, a feed-forward network and one kind of block (a position with a
mixer) a block. Its cost is a sum over these choices, so a table of a few hundred costs knows every member's.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from proxies.cost import Cost
from proxies.macs import part_cost
from space.architecture import MAX_BLOCKS, Architecture, BlockSpec, Part, StageSpec
from space.errors import SpaceError
from space.search_space import SearchSpace


class StageChoice(NamedTuple):
    """One stage by indices: into its widths, its feed-forward networks and, a block, its kinds of block."""

    width: int
    ffn: int
    kinds: tuple[int, ...]


Choice = tuple[StageChoice, ...]
"""An architecture of a space by indices."""


class SpaceCosts:
    """The cost tables of a space.

    Attributes:
        kinds: a stage, the (position, mixer) pairs that a block chooses from.
        entry: a stage, the cost of what stands before its blocks by width of the stage before (0 in the first) and its own.
        blocks: a stage, the cost of a block by width, feed-forward network and kind.
        exits: the cost of what stands behind the last stage's blocks, by its width.
        bases, extras: `blocks` taken apart, a block costs its base (by width and feed-forward network) and its kind's extra.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.kinds = [list(itertools.product(stage.positions, mixers)) for stage, mixers in zip(space.stages, space.mixers, strict=True)]
        self._template = space.smallest()
        self.entry: list[dict[tuple[int, int], Cost]] = [{} for _ in space.stages]
        self.blocks: list[dict[tuple[int, int], list[Cost]]] = [{} for _ in space.stages]
        self.exits: dict[int, Cost] = {}
        self._cost_surroundings()
        self._cost_blocks()
        self.bases = [{key: _least(costs) for key, costs in blocks.items()} for blocks in self.blocks]
        self.extras = [
            {key: [Cost(cost.macs - base.macs, cost.params - base.params) for cost in blocks[key]] for key, base in bases.items()}
            for blocks, bases in zip(self.blocks, self.bases, strict=True)
        ]

    @property
    def all_costs(self) -> Iterator[Cost]:
        """Every term of the sums that members' costs are."""
        yield from self.exits.values()
        for entry, bases, extras in zip(self.entry, self.bases, self.extras, strict=True):
            yield from entry.values()
            yield from bases.values()
            yield from itertools.chain.from_iterable(extras.values())

    def cost(self, choice: Choice) -> Cost:
        """Cost of a member: equal to `cost_of` its architecture."""
        total = self.exits[choice[-1].width]
        before = 0
        for i, stage in enumerate(choice):
            total += self.entry[i][before, stage.width]
            costs = self.blocks[i][stage.width, stage.ffn]
            for kind in stage.kinds:
                total += costs[kind]
            before = stage.width
        return total

    def architecture(self, choice: Choice) -> Architecture:
        """The architecture of a choice."""
        return self._template.replace(stages=tuple(self._stage(i, *stage) for i, stage in enumerate(choice)))

    def choice(self, architecture: Architecture) -> Choice:
        """The choice that leads to an architecture; SpaceError where the space does not offer it."""
        try:
            choice = tuple(
                StageChoice(
                    offered.widths.index(stage.width),
                    offered.ffns.index(stage.blocks[0].ffn),
                    tuple(self._kind_index[i][block.position, block.mixer] for block in stage.blocks),
                )
                for i, (offered, stage) in enumerate(zip(self.space.stages, architecture.stages, strict=True))
            )
            depths_offered = all(len(c.kinds) in stage.depths for c, stage in zip(choice, self.space.stages, strict=True))
            if not depths_offered or self.architecture(choice) != architecture.model_copy(update={"name": self._template.name}):
                raise ValueError
        except (ValueError, KeyError):
            raise SpaceError(f"{architecture.name}: not a member of the space {self.space.name}") from None
        return choice

    @cached_property
    def _kind_index(self) -> list[dict[tuple[object, object], int]]:
        return [{kind: index for index, kind in enumerate(kinds)} for kinds in self.kinds]

    def _stage(self, i: int, width: int, ffn: int, kinds: tuple[int, ...]) -> StageSpec:
        offered = self.space.stages[i]
        blocks = tuple(self._block(i, ffn, kind) for kind in kinds)
        return self._template.stages[i].model_copy(update={"width": offered.widths[width], "blocks": blocks})

    def _block(self, i: int, ffn: int, kind: int) -> BlockSpec:
        position, mixer = self.kinds[i][kind]
        update = {"position": position, "mixer": mixer, "ffn": self.space.stages[i].ffns[ffn]}
        return self._template.stages[i].blocks[0].model_copy(update=update)

    def _cost_surroundings(self) -> None:
        """Cost everything but blocks, for every pair of neighbouring widths."""
        most = max(len(stage.widths) for stage in self.space.stages)
        # Even stages take one width and odd stages another: all pairs of neighbours come by.
        for pair in itertools.product(range(most), repeat=2):
            widths = [min(pair[i % 2], len(stage.widths) - 1) for i, stage in enumerate(self.space.stages)]
            choice = tuple(StageChoice(width, 0, (0,)) for width in widths)
            before, last = 0, len(choice) - 1
            costs = [Cost(0, 0)] * (len(choice) + 1)
            for part in self.architecture(choice).parts:
                if not _is_in_block(part):
                    costs[_stage_of(part, len(choice))] += part_cost(part)
            for i, width in enumerate(widths):
                self.entry[i][before, width] = costs[i]
                before = width
            self.exits[widths[last]] = costs[-1]

    def _cost_blocks(self) -> None:
        """Cost every block, by architectures whose stages hold one block of every kind."""
        most_widths, most_ffns = (max(len(getattr(stage, name)) for stage in self.space.stages) for name in ("widths", "ffns"))
        for w, f in itertools.product(range(most_widths), range(most_ffns)):
            for runs in itertools.zip_longest(*(_runs(len(kinds)) for kinds in self.kinds), fillvalue=(0,)):
                choice = tuple(
                    StageChoice(min(w, len(stage.widths) - 1), min(f, len(stage.ffns) - 1), run)
                    for stage, run in zip(self.space.stages, runs, strict=True)
                )
                costs = [[Cost(0, 0)] * len(stage.kinds) for stage in choice]
                for part in self.architecture(choice).parts:
                    if _is_in_block(part):
                        _, stage_index, _, block_index, *_ = part.path.split(".")
                        costs[int(stage_index)][int(block_index)] += part_cost(part)
                for i, stage in enumerate(choice):
                    known = self.blocks[i].setdefault((stage.width, stage.ffn), [])
                    if stage.kinds[0] == len(known):
                        known += costs[i]


def _least(costs: list[Cost]) -> Cost:
    return Cost(min(cost.macs for cost in costs), min(cost.params for cost in costs))


def _runs(count: int) -> Iterator[tuple[int, ...]]:
    for start in range(0, count, MAX_BLOCKS):
        yield tuple(range(start, min(start + MAX_BLOCKS, count)))


def _is_in_block(part: Part) -> bool:
    return ".blocks." in part.path


def _stage_of(part: Part, num_stages: int) -> int:
    """The stage before whose blocks a part stands; `num_stages` behind the last one's."""
    if part.path == "stem":
        return 0
    if part.path == "head":
        return num_stages
    _, index, place = part.path.split(".")
    return int(index) + (place == "norm")
