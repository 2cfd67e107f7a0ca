"""Search spaces: the architectures that a search may choose from.

`SearchSpace.decide` is the only traversal. The caller's function makes the choices: a random generator, Optuna's
`trial.suggest_categorical`, a lookup in recorded parameters.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from space.architecture import Architecture, BlockSpec, StageSpec, Width
from space.choices import Depths, Widths, choices_of, one_or_several
from space.errors import SpaceError, explain, invalid
from space.kinds import FFNS, HEADS, MIXERS, POSITIONS, STEMS, Downsampler
from space.limits import MAX_CLASSES, MAX_IMAGE_SIZE, MIN_IMAGE_SIZE
from space.names import Name
from space.registry import Spec, Value
from space.taps import pyramid_of, task_of

Option = str | int
Choose = Callable[[str, tuple[Option, ...]], Option]
"""Takes a slot's name and its options, at least one; returns one of the options."""


class StageChoices(Value):
    """The choices of one stage: width, depth and feed-forward network per stage, positional encoding and mixer per block.

    A mixer that cannot run at the stage's map size, or at one of its widths, is not offered.
    """

    widths: Widths
    depths: Depths
    downsample: Downsampler | None = None
    positions: Annotated[tuple[Spec, ...], *choices_of(POSITIONS)] = (POSITIONS("none"), POSITIONS("dpe"))
    mixers: Annotated[tuple[Spec, ...], *choices_of(MIXERS)]
    ffns: Annotated[tuple[Spec, ...], *choices_of(FFNS)]


class SearchSpace(Value):
    """A set of architectures, given by the choices of every stage, and of stems and heads where there are several.

    Args:
        image_size: side of the images that map sizes and costs are counted for.
        stem, head: one, or the ones to choose from. Stems return maps of the same sizes; heads are for the same task.
    """

    name: Name
    image_size: Annotated[int, Field(ge=MIN_IMAGE_SIZE, le=MAX_IMAGE_SIZE)] = 224
    in_chans: Width = 3
    num_classes: Annotated[int, Field(ge=1, le=MAX_CLASSES)] = 1000
    stem: Annotated[tuple[Spec, ...], *one_or_several(STEMS, expands=False)] = (STEMS("conv_stem"),)
    stages: Annotated[tuple[StageChoices, ...], Field(min_length=1, max_length=8, strict=False)]
    head: Annotated[tuple[Spec, ...], *one_or_several(HEADS, expands=True)] = (HEADS("norm_pool_head"),)

    @model_validator(mode="after")
    def _check_members(self) -> SearchSpace:
        for stem, width in itertools.product(self.stem, self.stages[0].widths):
            try:
                stem.check(self.in_chans, width, self.image_size, self.image_size)
            except ValueError as error:
                raise invalid(f"stages[0].widths: {stem.label}: {error}") from None
        if len({self._stem_sizes(stem) for stem in self.stem}) > 1:
            raise invalid("stem: got stems whose maps differ in size, expected maps of the same sizes")
        if len(tasks := sorted({task_of(head) for head in self.head})) > 1:
            raise invalid(f"head: got heads for {' and '.join(tasks)}, expected heads for one task")
        for index, mixers in enumerate(self.mixers):
            if not mixers:
                height, width = self._map_sizes[index]
                widths = list(self.stages[index].widths)
                raise invalid(f"stages[{index}].mixers: none of them can run at a {height}x{width} map and widths {widths}")
        for stem, head, option in itertools.product(self.stem, self.head, (0, -1)):
            try:
                self.decide(partial(_extreme, {"stem": stem.label, "head": head.label}, option))
            except ValidationError as error:
                raise invalid(str(explain(error, ""))) from None
        return self

    @property
    def task(self) -> str:
        """What the heads' logits are of, "classification" or "segmentation"."""
        return task_of(self.head[0])

    def _stem_sizes(self, stem: Spec) -> tuple[tuple[int, int], ...]:
        """Sizes of a stem's maps."""
        image = (self.image_size, self.image_size)
        return (*(shape[:2] for shape in pyramid_of(stem, self.stages[0].widths[0], image)), stem.out_size(*image))

    @cached_property
    def _map_sizes(self) -> tuple[tuple[int, int], ...]:
        sizes = [self._stem_sizes(self.stem[0])[-1]]
        for stage in self.stages[1:]:
            sizes.append(stage.downsample.out_size(*sizes[-1]) if stage.downsample else sizes[-1])
        return tuple(sizes)

    @cached_property
    def mixers(self) -> tuple[tuple[Spec, ...], ...]:
        """The mixers of each stage that can run at its map size and at all its widths."""
        return tuple(
            tuple(mixer for mixer in stage.mixers if all(_can_run(mixer, width, size) for width in stage.widths))
            for stage, size in zip(self.stages, self._map_sizes, strict=True)
        )

    def decide(self, choose: Choose) -> Architecture:
        """Build an architecture by choosing an option for every slot, also for blocks that a shallow stage then drops.

        Slots are `stage1.width`, `stage1.depth`, `stage1.ffn`, `stage1.block1.position`, `stage1.block1.mixer`, ...; before them `stem` and
        `head`, where there are several.
        """
        stem, head = (
            _choose_spec(choose, name, offered) if len(offered) > 1 else offered[0]
            for name, offered in (("stem", self.stem), ("head", self.head))
        )
        stages = []
        for i, (stage, mixers) in enumerate(zip(self.stages, self.mixers, strict=True), start=1):
            width = _choose(choose, f"stage{i}.width", stage.widths)
            depth = _choose(choose, f"stage{i}.depth", stage.depths)
            ffn = _choose_spec(choose, f"stage{i}.ffn", stage.ffns)
            blocks = []
            for j in range(1, stage.depths[-1] + 1):
                position = _choose_spec(choose, f"stage{i}.block{j}.position", stage.positions)
                blocks.append(BlockSpec(position=position, mixer=_choose_spec(choose, f"stage{i}.block{j}.mixer", mixers), ffn=ffn))
            stages.append(StageSpec(width=width, downsample=stage.downsample, blocks=tuple(blocks[:depth])))
        fixed = {key: getattr(self, key) for key in ("name", "image_size", "in_chans", "num_classes")}
        return Architecture(stem=stem, stages=tuple(stages), head=head, **fixed)

    @cached_property
    def slots(self) -> Mapping[str, tuple[Option, ...]]:
        """Every slot's options, in the order in which `decide` asks."""
        slots: dict[str, tuple[Option, ...]] = {}

        def record(name: str, options: tuple[Option, ...]) -> Option:
            slots[name] = options
            return options[0]

        self.decide(record)
        return slots

    @cached_property
    def conditions(self) -> Mapping[str, tuple[str, frozenset[Option]]]:
        """The slots that count only where another one, named here, holds one of some options: blocks that a shallow stage drops."""
        return {
            f"stage{i}.block{j}.{slot}": (f"stage{i}.depth", frozenset(depth for depth in stage.depths if depth >= j))
            for i, stage in enumerate(self.stages, start=1)
            for j in range(stage.depths[0] + 1, stage.depths[-1] + 1)
            for slot in ("position", "mixer")
        }

    @property
    def shape_slots(self) -> tuple[str, ...]:
        """The slots of stem and head, and of every stage's width and depth."""
        shape = ("stem", "head", *(f"stage{i}.{slot}" for i in range(1, len(self.stages) + 1) for slot in ("width", "depth")))
        return tuple(slot for slot in shape if slot in self.slots)

    def sample(self, rng: random.Random) -> Architecture:
        """Choose every slot's option uniformly at random."""
        return self.decide(lambda _, options: rng.choice(options))

    def replay(self, parameters: Mapping[str, Option]) -> Architecture:
        """The architecture of recorded choices; SpaceError where a slot is missing or its option is not offered."""

        def recorded(name: str, options: tuple[Option, ...]) -> Option:
            if name not in parameters:
                raise SpaceError(f"{name}: missing, expected one of {', '.join(map(str, options))}")
            return parameters[name]

        return self.decide(recorded)

    def smallest(self) -> Architecture:
        """The first option of every slot: least width and depth, first mixers."""
        return self.decide(lambda _, options: options[0])

    def largest(self) -> Architecture:
        """The last option of every slot: greatest width and depth, last mixers."""
        return self.decide(lambda _, options: options[-1])

    def parameters_of(self, architecture: Architecture) -> dict[str, Option]:
        """The choices that give an architecture; first options for slots without effect. SpaceError outside the space."""
        choices: dict[str, Option] = {"stem": architecture.stem.label, "head": architecture.head.label}
        for i, stage in enumerate(architecture.stages, start=1):
            choices |= {f"stage{i}.width": stage.width, f"stage{i}.depth": len(stage.blocks), f"stage{i}.ffn": stage.blocks[0].ffn.label}
            for j, block in enumerate(stage.blocks, start=1):
                choices |= {f"stage{i}.block{j}.position": block.position.label, f"stage{i}.block{j}.mixer": block.mixer.label}
        parameters = {name: choices.get(name, options[0]) for name, options in self.slots.items()}
        if self.replay(parameters).fingerprint != architecture.fingerprint:
            raise SpaceError(f"{architecture.name}: not a member of the space {self.name}")
        return parameters

    def contains(self, architecture: Architecture) -> bool:
        """Whether the architecture is a member; names are ignored."""
        try:
            self.parameters_of(architecture)
        except SpaceError:
            return False
        return True

    @property
    def size(self) -> int:
        """Number of distinct architectures."""
        return len(self.stem) * len(self.head) * math.prod(
            len(stage.widths) * len(stage.ffns) * sum((len(stage.positions) * len(mixers)) ** depth for depth in stage.depths)
            for stage, mixers in zip(self.stages, self.mixers, strict=True)
        )


def _extreme(fixed: Mapping[str, Option], index: int, name: str, options: tuple[Option, ...]) -> Option:
    return fixed.get(name, options[index])


def _can_run(mixer: Spec, width: int, size: tuple[int, int]) -> bool:
    try:
        mixer.check(width, *size)
    except ValueError:
        return False
    return True


def _choose(choose: Choose, name: str, options: tuple[Any, ...], values: tuple[Any, ...] | None = None) -> Any:
    """The chosen option, or the value with its index."""
    option = choose(name, options)
    try:
        return (values or options)[options.index(option)]
    except ValueError:
        raise SpaceError(f"{name}: got {option!r}, expected one of {', '.join(map(str, options))}") from None


def _choose_spec(choose: Choose, name: str, specs: tuple[Spec, ...]) -> Spec:
    return _choose(choose, name, tuple(spec.label for spec in specs), specs)
