"""What the members of a search space cost, as terms over its slots: sums over the parts that each choice adds to a network.

What comes before a stage's blocks depends on two widths; a block depends on its stage's width and feed-forward network and on
its own positional encoding and mixer; a head depends on the last width, or each of its taps on the widths of the maps that it takes.
Stem and head are choices, too, where a space offers several. Tables over these few choices tell every member's sum.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from proxies.band.additive_cost import AdditiveCost, CategoricalOption, Term
from proxies.macs import part_cost
from proxies.memory.training import part_memory
from space.architecture import Architecture, BlockSpec, Part, StageSpec
from space.registry import Spec
from space.search_space import SearchSpace
from space.taps import taps_of

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


@lru_cache(maxsize=8)
def space_training_memory(space: SearchSpace, quantity: str, batch: int) -> AdditiveCost:
    """The memory of training steps, equal to `training_memory_of` for every member of a space."""
    parts, size = SpaceParts(space), (space.image_size,) * 2
    return parts.terms({quantity: {key: part_memory(part, batch, size) for key, part in parts.parts.items()}})


def key_of(part: Part) -> str:
    """A readable name of a part, the same anywhere in a network: `ssa(sr_ratio=4) of 64 at 56x56 behind layer_norm`."""
    sizes = dict.fromkeys(f"{height}x{width}" for height, width, _ in part.inputs)
    words = [f"{part.spec.label} of {'x'.join(map(str, part.widths))} at {', '.join(sizes)}"]
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
        """The sums of costs over a member's parts, as terms over the space's slots: one a block, one for each part around the blocks.

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
        """What comes before and after the stages' blocks, for every stem and head and every pair of neighbouring widths."""
        space, offered = self.space, [stage.widths for stage in self.space.stages]
        slots, walked = self._slots_around(), set[str]()
        added: dict[str, dict[tuple[CategoricalOption, ...], Keys]] = {place: {} for place in slots}
        # Even stages take one width and odd stages another: all pairs of neighbours come by.
        pairs = itertools.product(range(max(map(len, offered))), repeat=2)
        for stem, head, pair in itertools.product(space.stem, space.head, pairs):
            widths = tuple(own[min(pair[i % 2], len(own) - 1)] for i, own in enumerate(offered))
            options = {"stem": stem.label, "head": head.label} | {f"stage{i}.width": width for i, width in enumerate(widths, start=1)}
            stages = {
                i: StageSpec.model_construct(width=width, downsample=stage.downsample, blocks=())
                for i, (width, stage) in enumerate(zip(widths, space.stages, strict=True))
            }
            found: dict[str, list[str]] = {place: [] for place in slots}
            for part in self._parts(stages, stem=stem, head=head):
                found[part.path].append(self._key(part))
            before = ["stem", *(f"stages.{i}.downsample" for i in range(1, len(widths)))]
            walk: list[Keys] = []
            for i, place in enumerate(before):
                walk += [*((key,) for key in found[place]), blocks[i][widths[i]]]
            walk += [(key,) for place in slots if place not in before for key in found[place]]
            keys = set(itertools.chain.from_iterable(walk))
            if not keys <= walked:
                walked |= keys
                self.walks.append(walk)
            for place, own in slots.items():
                added[place][tuple(options[slot] for slot in own)] = tuple(found[place])
        self._added += [Added([own], added[place]) for place, own in slots.items()]

    def _slots_around(self) -> dict[str, tuple[str, ...]]:
        """The slots on which each part around the blocks depends, by its path."""
        names = [f"stage{i + 1}.width" for i in range(len(self.space.stages))]
        slots: dict[str, tuple[str, ...]] = {"stem": ("stem", names[0])}
        slots |= {f"stages.{i}.downsample": (names[i - 1], names[i]) for i in range(1, len(names))}
        for stem, head in itertools.product(self.space.stem, self.space.head):
            shapes = self._template.replace(stem=stem, head=head).features_at(*[self.space.image_size] * 2)
            num_scales = len(shapes) - len(names)
            taps = taps_of(head, shapes)
            for i, tap in enumerate(taps):
                of_maps = [("stem", names[0]) if s.feature < num_scales else (names[s.feature - num_scales],) for s in tap.sources]
                wanted = {"head", *slots.get(f"taps.{i}", ()), *itertools.chain.from_iterable(of_maps)}
                slots[f"taps.{i}"] = tuple(slot for slot in ("stem", "head", *names) if slot in wanted)
            wanted = {*slots.get("head", ()), "head", *(names[-1:] if not taps else ())}
            slots["head"] = tuple(slot for slot in ("head", names[-1]) if slot in wanted)
        slots["head"] = slots.pop("head")
        return {place: tuple(slot for slot in own if slot in self.space.slots) for place, own in slots.items()}

    def _parts(self, stages: Mapping[int, StageSpec], **surroundings: Spec) -> tuple[Part, ...]:
        """The parts of a network with some of its stages, and its stem and head, replaced. Not checked: what a space offers has been."""
        fields = {name: getattr(self._template, name) for name in Architecture.model_fields} | surroundings
        replaced = tuple(stages.get(i, stage) for i, stage in enumerate(self._template.stages))
        return Architecture.model_construct(**fields | {"stages": replaced}).parts

    def _key(self, part: Part) -> str:
        key = key_of(part)
        self.parts.setdefault(key, part)
        return key
