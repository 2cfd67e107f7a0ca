"""Which parts each choice of a space brings: what sums over parts, multiply-adds or a latency, is made of these.

Whatever stands before a stage's blocks depends on two widths, a block on its stage's width and feed-forward network and on
its own position and mixer, the head on the last width. Tables over these few choices know every member's sum.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from proxies.band.additive_cost import Option, Term
from space.architecture import Architecture, BlockSpec, Part, StageSpec
from space.search_space import SearchSpace

Keys = tuple[str, ...]


def key_of(part: Part) -> str:
    """A part without its place, readable: `ssa(sr_ratio=4) of 64 at 56x56 behind layer_norm`."""
    words = [f"{part.spec.label} of {'x'.join(map(str, part.widths))} at {part.in_size[0]}x{part.in_size[1]}"]
    words += [f"behind {part.norm.label}"] if part.norm is not None else []
    words += ["scaled"] if part.layer_scale else []
    return " ".join(words)


@dataclass(frozen=True)
class Brought:
    """Keys of the parts that the options of some slots bring together.

    Args:
        slots: for each of these, what all combinations of their options bring: one slot behind another of its kind may bring the same.
        keys: by combination of options.
    """

    slots: Sequence[tuple[str, ...]]
    keys: Mapping[tuple[Option, ...], Keys]


class SpaceParts:
    """The parts of a space.

    Attributes:
        parts: every part that a member can have, by key.
        brought: what slots bring; a member's parts are all that its options bring.
        walks: networks through all parts. A walk is a list of segments in order of execution; the parts inside a
            segment, a stage's, take and return maps of one shape, so that any order of them runs.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.parts: dict[str, Part] = {}
        self.brought: list[Brought] = []
        self.walks: list[list[Keys]] = []
        self._template = space.smallest()
        blocks = [self._add_blocks(stage) for stage in range(len(space.stages))]
        self._add_surroundings(blocks)

    def terms(self, amounts: Mapping[str, Mapping[str, int]]) -> tuple[Term, ...]:
        """The sums of amounts over a member's parts, as terms over the space's slots.

        Args:
            amounts: by quantity, by key.
        """
        terms = []
        for brought in self.brought:
            options = [self.space.slots[slot] for slot in brought.slots[0]]
            keys = [brought.keys[chosen] for chosen in itertools.product(*options)]
            tables = {
                quantity: np.array([sum(map(of.__getitem__, some)) for some in keys], dtype=np.int64).reshape([*map(len, options)])
                for quantity, of in amounts.items()
            }
            terms += [Term(slots, tables) for slots in brought.slots]
        return tuple(terms)

    def _add_blocks(self, i: int) -> dict[int, Keys]:
        """Blocks of a stage; returns the keys of all their parts by width."""
        stage, name = self.space.stages[i], f"stage{i + 1}"
        kinds = list(itertools.product(stage.ffns, stage.positions, self.space.mixers[i]))
        blocks = tuple(BlockSpec(position=position, mixer=mixer, ffn=ffn) for ffn, position, mixer in kinds)
        brought: dict[tuple[Option, ...], Keys] = {}
        of_width: dict[int, Keys] = {}
        for width in stage.widths:
            found: list[list[str]] = [[] for _ in kinds]
            # A stage of all kinds of block, of which there may be more than an architecture takes.
            for part in self._parts({i: StageSpec.model_construct(width=width, downsample=stage.downsample, blocks=blocks)}):
                if part.path.startswith(f"stages.{i}.blocks."):
                    found[int(part.path.split(".")[3])].append(self._key(part))
            for (ffn, position, mixer), keys in zip(kinds, found, strict=True):
                brought[width, ffn.label, position.label, mixer.label] = tuple(keys)
            of_width[width] = tuple(dict.fromkeys(itertools.chain.from_iterable(found)))
        own = [f"{name}.block{j}" for j in range(1, stage.depths[-1] + 1)]
        self.brought.append(Brought([(f"{name}.width", f"{name}.ffn", f"{block}.position", f"{block}.mixer") for block in own], brought))
        return of_width

    def _add_surroundings(self, blocks: list[dict[int, Keys]]) -> None:
        """What stands before and behind the stages' blocks, for every pair of neighbouring widths."""
        num_stages = len(blocks)
        names = [f"stage{i + 1}.width" for i in range(num_stages)]
        slots = [tuple(names[max(i - 1, 0) : i + 1]) for i in range(num_stages + 1)]
        brought: list[dict[tuple[Option, ...], Keys]] = [{} for _ in slots]
        offered = [stage.widths for stage in self.space.stages]
        # Even stages take one width and odd stages another: all pairs of neighbours come by.
        for pair in itertools.product(range(max(map(len, offered))), repeat=2):
            widths = tuple(own[min(pair[i % 2], len(own) - 1)] for i, own in enumerate(offered))
            stages = {
                i: StageSpec.model_construct(width=width, downsample=stage.downsample, blocks=())
                for i, (width, stage) in enumerate(zip(widths, self.space.stages, strict=True))
            }
            found: list[list[str]] = [[] for _ in slots]
            for part in self._parts(stages):
                found[_place_of(part, num_stages)].append(self._key(part))
            walk: list[Keys] = []
            for i, keys in enumerate(found):
                brought[i][widths[max(i - 1, 0) : i + 1]] = tuple(keys)
                walk += [(key,) for key in keys]
                walk += [blocks[i][widths[i]]] if i < num_stages else []
            if walk not in self.walks:
                self.walks.append(walk)
        self.brought += [Brought([neighbours], found) for neighbours, found in zip(slots, brought, strict=True)]

    def _parts(self, stages: Mapping[int, StageSpec]) -> tuple[Part, ...]:
        """The parts of a network with some of its stages replaced. Not checked: what a space offers has been."""
        fields = {name: getattr(self._template, name) for name in Architecture.model_fields}
        replaced = tuple(stages.get(i, stage) for i, stage in enumerate(self._template.stages))
        return Architecture.model_construct(**fields | {"stages": replaced}).parts

    def _key(self, part: Part) -> str:
        key = key_of(part)
        self.parts.setdefault(key, part)
        return key


def _place_of(part: Part, num_stages: int) -> int:
    """The stage before whose blocks a part stands; `num_stages` behind the last one's."""
    if part.path == "stem":
        return 0
    if part.path == "head":
        return num_stages
    _, index, place = part.path.split(".")
    return int(index) + (place == "norm")
