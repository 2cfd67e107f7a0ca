"""What the members of a search space cost, as terms over its slots: sums over the parts that each choice adds to a network.

What comes before a stage's blocks depends on two widths; a block depends on its stage's width and feed-forward network and on
its own positional encoding and mixer; the head depends on the last width. Tables over these few choices tell every member's sum.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from proxies.band.additive_cost import AdditiveCost, CategoricalOption, Term
from proxies.macs import part_cost
from space.architecture import Architecture, BlockSpec, Part, StageSpec
from space.search_space import SearchSpace

Keys = tuple[str, ...]
QUANTITIES = ("macs", "params")


@lru_cache(maxsize=8)
def space_cost(space: SearchSpace) -> AdditiveCost:
    """The quantities `macs` and `params`, equal to `cost_of` for every member of a space.

    They are kept, since bands of one space often differ in their budgets alone.
    """
    parts = SpaceParts(space)
    costs = {key: part_cost(part) for key, part in parts.parts.items()}
    return parts.terms({quantity: {key: cost[quantity] for key, cost in costs.items()} for quantity in QUANTITIES})


def key_of(part: Part) -> str:
    """A readable name of a part, the same anywhere in a network: `ssa(sr_ratio=4) of 64 at 56x56 behind layer_norm`."""
    words = [f"{part.spec.label} of {'x'.join(map(str, part.widths))} at {part.in_size[0]}x{part.in_size[1]}"]
    words += [f"behind {part.norm.label}"] if part.norm is not None else []
    words += ["scaled"] if part.layer_scale else []
    return " ".join(words)


@dataclass(frozen=True)
class Added:
    """Keys of the parts that the options of some slots add together.

    Args:
        slots: groups of slots whose options add the same parts, such as those of each block of a stage.
        keys: by combination of options of one group.
    """

    slots: Sequence[tuple[str, ...]]
    keys: Mapping[tuple[CategoricalOption, ...], Keys]


class SpaceParts:
    """The parts of a space.

    Attributes:
        parts: every part that a member can have, by key.
        walks: networks through all parts. A walk is a list of segments in order of execution; the parts inside a
            segment, a stage's, take and return maps of one shape, so that any order of them runs.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.parts: dict[str, Part] = {}
        self._added: list[Added] = []
        self.walks: list[list[Keys]] = []
        self._template = space.smallest()
        blocks = [self._add_blocks(stage) for stage in range(len(space.stages))]
        self._add_surroundings(blocks)

    def terms(self, costs: Mapping[str, Mapping[str, int]]) -> AdditiveCost:
        """The sums of costs over a member's parts, as terms over the space's slots: one a block, one before each stage, one after the last.

        Args:
            costs: by quantity, by key.
        """
        terms = []
        for added in self._added:
            options = [self.space.slots[slot] for slot in added.slots[0]]
            keys = [added.keys[chosen] for chosen in itertools.product(*options)]
            tables = {
                quantity: np.array([sum(map(of.__getitem__, some)) for some in keys], dtype=np.int64).reshape([*map(len, options)])
                for quantity, of in costs.items()
            }
            terms += [Term(slots, tables) for slots in added.slots]
        return tuple(terms)

    def _add_blocks(self, i: int) -> dict[int, Keys]:
        """Add the blocks of a stage; returns the keys of all their parts by width."""
        stage, name = self.space.stages[i], f"stage{i + 1}"
        kinds = list(itertools.product(stage.ffns, stage.positions, self.space.mixers[i]))
        blocks = tuple(BlockSpec(position=position, mixer=mixer, ffn=ffn) for ffn, position, mixer in kinds)
        added: dict[tuple[CategoricalOption, ...], Keys] = {}
        of_width: dict[int, Keys] = {}
        for width in stage.widths:
            found: list[list[str]] = [[] for _ in kinds]
            # A stage of all kinds of block, of which there may be more than an architecture takes.
            for part in self._parts({i: StageSpec.model_construct(width=width, downsample=stage.downsample, blocks=blocks)}):
                if part.path.startswith(f"stages.{i}.blocks."):
                    found[int(part.path.split(".")[3])].append(self._key(part))
            for (ffn, position, mixer), keys in zip(kinds, found, strict=True):
                added[width, ffn.label, position.label, mixer.label] = tuple(keys)
            of_width[width] = tuple(dict.fromkeys(itertools.chain.from_iterable(found)))
        own = [f"{name}.block{j}" for j in range(1, stage.depths[-1] + 1)]
        self._added.append(Added([(f"{name}.width", f"{name}.ffn", f"{block}.position", f"{block}.mixer") for block in own], added))
        return of_width

    def _add_surroundings(self, blocks: list[dict[int, Keys]]) -> None:
        """What comes before and after the stages' blocks, for every pair of neighbouring widths."""
        num_stages = len(blocks)
        names = [f"stage{i + 1}.width" for i in range(num_stages)]
        slots = [tuple(names[max(i - 1, 0) : i + 1]) for i in range(num_stages + 1)]
        added: list[dict[tuple[CategoricalOption, ...], Keys]] = [{} for _ in slots]
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
                added[i][widths[max(i - 1, 0) : i + 1]] = tuple(keys)
                walk += [(key,) for key in keys]
                walk += [blocks[i][widths[i]]] if i < num_stages else []
            if walk not in self.walks:
                self.walks.append(walk)
        self._added += [Added([neighbours], found) for neighbours, found in zip(slots, added, strict=True)]

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
    """The stage before whose blocks a part runs; `num_stages` after the last one's."""
    if part.path == "stem":
        return 0
    if part.path == "head":
        return num_stages
    _, index, place = part.path.split(".")
    return int(index) + (place == "norm")
