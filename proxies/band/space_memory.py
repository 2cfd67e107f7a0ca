"""The most memory that an inference of a space's members needs, as terms over its slots, of which a member needs the greatest.

A part's need depends on the slots that its cost depends on, and on those of what lives beside it: the map that its stage began with, or
all earlier maps where a head takes several.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from proxies.band.additive_cost import AdditiveCost, Term
from proxies.cost import BudgetError
from proxies.memory.inference import Surroundings, block_needs, bytes_of
from proxies.memory_quantity import ACTIVATIONS
from space.architecture import Architecture, BlockSpec, Part, StageSpec
from space.search_space import SearchSpace

MAX_COMBINATIONS = 100_000
"""Combinations of stem, head and widths that what lives beside a part may depend on."""

Slots = tuple[str, ...]
Table = NDArray[np.int64]


@lru_cache(maxsize=8)
def space_peaks(space: SearchSpace) -> AdditiveCost:
    """Terms of `memory@act`, the greatest of which is `peak_of`, for every member of a space.

    Raises BudgetError where they depend on too many combinations of slots.
    """
    peaks = _SpacePeaks(space)
    found = [*peaks.around(), *(term for i in range(len(space.stages)) for term in peaks.of_blocks(i))]
    return tuple(Term(slots, {ACTIVATIONS: table}) for slots, table in found)


class _SpacePeaks:
    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._template = space.smallest()
        self._takes_several = bool(self._template.parts[-1].maps)
        self._widths = tuple(f"stage{i}.width" for i in range(1, len(space.stages) + 1))

    def around(self) -> Iterator[tuple[Slots, Table]]:
        """What is before and after the stages' blocks."""
        yield self._evaluated(("stem", self._widths[0]), self._peak_at("stem"))
        for i in range(1, len(self._widths)):
            yield self._evaluated((*self._before(i), self._widths[i]), self._peak_at(f"stages.{i}.downsample"))
        of_head = ("stem", "head", *self._widths) if self._takes_several else ("head", self._widths[-1])
        yield self._evaluated(of_head, self._peak_at("taps.", "head"))

    def of_blocks(self, i: int) -> Iterator[tuple[Slots, Table]]:
        """The blocks of a stage."""
        stage, name = self._space.stages[i], f"stage{i + 1}"
        # By width, feed-forward network, positional encoding and mixer.
        needs = np.array([self._needs_of_blocks(i, width) for width in stage.widths])
        before, base = self._evaluated(self._before(i) or ("stem", self._widths[0]), lambda around, _: around.base(i))
        slots: Slots = (*before, f"{name}.ffn") if i == 0 else (*before, self._widths[i], f"{name}.ffn")
        table = base[..., None, None, None] + needs if i == 0 else base[..., None, None, None, None] + needs
        side = self._template.parts[0].out_size
        inputs = np.array([bytes_of([(*side, width)]) for width in stage.widths])[:, None, None, None]
        for j in range(1, stage.depths[-1] + 1):
            # The very first block begins with the map that its stage began with.
            yield (*slots, f"{name}.block{j}.position", f"{name}.block{j}.mixer"), table - inputs if i == 0 and j == 1 else table

    def _needs_of_blocks(self, i: int, width: int) -> Table:
        stage = self._space.stages[i]
        kinds = list(itertools.product(stage.ffns, stage.positions, self._space.mixers[i]))
        blocks = tuple(BlockSpec(position=position, mixer=mixer, ffn=ffn) for ffn, position, mixer in kinds)
        parts: list[list[Part]] = [[] for _ in kinds]
        for part in self._architecture({self._widths[i]: width}, {i: blocks}).parts:
            if part.path.startswith(f"stages.{i}.blocks."):
                parts[int(part.path.split(".")[3])].append(part)
        needs = [max(block_needs(of_block)) for of_block in parts]
        return np.array(needs, dtype=np.int64).reshape(len(stage.ffns), len(stage.positions), -1)

    def _before(self, i: int) -> Slots:
        """The slots of what lives while a stage's downsampler runs; none for the first stage."""
        return ("stem", *self._widths[:i]) if self._takes_several and i else self._widths[max(i - 1, 0) : i]

    def _evaluated(self, slots: Slots, evaluate: Callable[[Surroundings, Architecture], int]) -> tuple[Slots, Table]:
        """What is found for every combination of some slots' options; slots without a choice are left out."""
        slots = tuple(slot for slot in slots if slot in self._space.slots)
        options = [self._space.slots[slot] for slot in slots]
        if (combinations := math.prod(map(len, options))) > MAX_COMBINATIONS:
            raise BudgetError(
                f"budget: got a limit on {ACTIVATIONS}, which depends on {combinations} combinations of {', '.join(slots):.200} in "
                f"{self._space.name}, expected at most {MAX_COMBINATIONS}")
        side, found = self._space.image_size, []
        for chosen in itertools.product(*options):
            architecture = self._architecture(dict(zip(slots, chosen, strict=True)), {})
            found.append(evaluate(Surroundings(architecture, side, side), architecture))
        return slots, np.array(found, dtype=np.int64).reshape([*map(len, options)])

    @staticmethod
    def _peak_at(*paths: str) -> Callable[[Surroundings, Architecture], int]:
        return lambda around, architecture: max(around.peak(part) for part in architecture.parts if part.path.startswith(paths))

    def _architecture(self, chosen: Mapping[str, str | int], blocks: Mapping[int, Sequence[BlockSpec]]) -> Architecture:
        """A network with some choices; its blocks are those given. Not checked: what a space offers has been."""
        stages = tuple(
            StageSpec.model_construct(width=chosen.get(name, stage.widths[0]), downsample=stage.downsample, blocks=tuple(blocks.get(i, ())))
            for i, (name, stage) in enumerate(zip(self._widths, self._space.stages, strict=True))
        )
        fields = {name: getattr(self._template, name) for name in Architecture.model_fields} | {"stages": stages}
        for place in ("stem", "head"):
            if place in chosen:
                fields[place] = getattr(self._space, place)[self._space.slots[place].index(chosen[place])]
        return Architecture.model_construct(**fields)
