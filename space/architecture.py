"""Architectures: frozen values that describe a network completely, except for its weights.

`Architecture.parts` lists the operators in order of execution, with their widths and map sizes. Building, costing and weight
sharing all use this one list.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, TypeAdapter, model_validator

from space.errors import invalid
from space.kinds import HEADS, NORMS, POSITIONS, STEMS, Downsampler, Ffn, Head, Mixer, Norm, Position, Stem
from space.limits import MAX_BLOCKS, MAX_CLASSES, MAX_IMAGE_SIZE, MAX_MAP, MAX_WIDTH, MIN_IMAGE_SIZE
from space.names import Name
from space.registry import Spec, Value
from space.taps import Shape, heads_that_fit, pyramid_of, taps_of, task_of

Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]


class BlockSpec(Value):
    """x = position(x); x += mixer(norm(x)); x = ffn_position(x); x += ffn(norm(x)).

    Args:
        position: a positional encoding.
        ffn_position: a second positional encoding before the feed-forward network, as in DaViT.
        norm: the norm before both branches; by default each operator's native one.
        layer_scale: initial value of a learnt scale per channel on both branches; none by default.
    """

    position: Position = POSITIONS("none")
    mixer: Mixer
    ffn_position: Position = POSITIONS("none")
    ffn: Ffn
    norm: Norm | None = None
    layer_scale: Annotated[float, Field(gt=0, le=1000)] | None = None

    @property
    def mixer_norm(self) -> Spec:
        """The norm before the mixer."""
        return self.norm or self.mixer.traits["norm"]

    @property
    def ffn_norm(self) -> Spec:
        """The norm before the feed-forward network."""
        if self.norm or self.ffn.traits["norm"]:
            return self.norm or self.ffn.traits["norm"]
        native = self.mixer.traits["norm"]
        # After a mixer without a pre-norm, a plain feed-forward network still needs one.
        return NORMS("batch_norm") if native.type == "none" else native


class _RepeatedBlock(BlockSpec):
    """A run of equal blocks, as YAML has it."""

    repeat: Annotated[int, Field(ge=1, le=MAX_BLOCKS)] = 1


_RUNS = TypeAdapter(Annotated[list[_RepeatedBlock], Field(max_length=MAX_BLOCKS)])


def _unfold(blocks: object) -> object:
    if isinstance(blocks, (tuple, list)) and all(type(block) is BlockSpec for block in blocks):
        return tuple(blocks)
    fields = BlockSpec.model_fields
    unfolded: list[BlockSpec] = []
    for run in _RUNS.validate_python(blocks):
        unfolded += [BlockSpec(**{name: getattr(run, name) for name in fields})] * run.repeat
    return tuple(unfolded)


def _fold(blocks: tuple[BlockSpec, ...]) -> list[dict[str, Any]]:
    runs: list[tuple[dict[str, Any], int]] = []
    for block in blocks:
        written = _written(block)
        if runs and runs[-1][0] == written:
            runs[-1] = (written, runs[-1][1] + 1)
        else:
            runs.append((written, 1))
    return [written | {"repeat": count} if count > 1 else written for written, count in runs]


@lru_cache(maxsize=4096)
def _written(block: BlockSpec) -> dict[str, Any]:
    return block.model_dump(exclude_defaults=True)


class StageSpec(Value):
    """Blocks of one width at one map size, after a downsampler (in the first stage, after the stem).

    Args:
        norm: a norm at the end of the stage, as in Shunted Transformer.
    """

    width: Width
    downsample: Downsampler | None = None
    blocks: Annotated[tuple[BlockSpec, ...], Field(min_length=1, max_length=MAX_BLOCKS), BeforeValidator(_unfold), PlainSerializer(_fold)]
    norm: Norm = NORMS("none")


@dataclass(frozen=True)
class Part:
    """One operator of a network, with its path and sizes.

    Args:
        path: name of its module in the network, `stages.0.blocks.1.mixer`.
        spec: the operator.
        widths: the operator's positional arguments: (width,), (width in, width out), or more than one width in.
        in_size, out_size: height and width of its (first) input map and of its output map.
        norm: the norm before it, for a residual branch only.
        layer_scale: as in `BlockSpec`, for a residual branch only.
        maps: shapes of the maps that it takes as a list, for taps and the head behind them; other parts take the map of the part before.
    """

    path: str
    spec: Spec
    widths: tuple[int, ...]
    in_size: tuple[int, int]
    out_size: tuple[int, int]
    norm: Spec | None = None
    layer_scale: float | None = None
    maps: tuple[Shape, ...] = ()

    @property
    def inputs(self) -> tuple[Shape, ...]:
        """Shapes of all maps that it takes."""
        return self.maps or ((*self.in_size, self.widths[0]),)


class Architecture(Value):
    """Everything about a network but its weights. Compares and hashes by value.

    Args:
        name: a label; two architectures that differ in nothing else have the same `fingerprint`.
        image_size: side of the square images that costs are counted for; networks take any size.
    """

    name: Name = "architecture"
    image_size: Annotated[int, Field(ge=MIN_IMAGE_SIZE, le=MAX_IMAGE_SIZE)] = 224
    in_chans: Width = 3
    num_classes: Annotated[int, Field(ge=0, le=MAX_CLASSES)] = 1000
    stem: Stem = STEMS("conv_stem")
    stages: Annotated[tuple[StageSpec, ...], Field(min_length=1, max_length=8, strict=False)]
    head: Head = HEADS("norm_pool_head")

    @model_validator(mode="after")
    def _check_parts(self) -> Architecture:
        for index, stage in enumerate(self.stages):
            if (stage.downsample is None) != (index == 0):
                mistakes = ("got none, expected one such as conv_downsample", "got one, expected none: the stem comes before it")
                mistake = mistakes[index == 0]
                raise invalid(f"stages[{index}].downsample: {mistake}")
        _check_taps(self.head, self.features_at(self.image_size, self.image_size))
        for part in self.parts:
            try:
                part.spec.check(*part.widths, *part.in_size)
                _check_maps(part)
            except ValueError as error:
                raise invalid(f"{_bracketed(part.path)}: {part.spec.label}: {error}") from None
        return self

    @property
    def depth(self) -> int:
        """Total number of blocks."""
        return sum(len(stage.blocks) for stage in self.stages)

    @property
    def task(self) -> str:
        """What the head's logits are of, "classification" or "segmentation"."""
        return task_of(self.head)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that depend on everything but the name."""
        text = json.dumps(self.model_dump(exclude={"name"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def reductions(self) -> tuple[int, ...]:
        """Stride of each feature map: image side over map side."""
        # Large enough that rounding does not matter.
        side = 4096
        return tuple(round(side / height) for height, *_ in self.features_at(side, side))

    def features_at(self, height: int, width: int) -> tuple[Shape, ...]:
        """Shapes of the feature maps of images of this size: those of a stem that is a pyramid, then those of the stages."""
        size, shapes = self.stem.out_size(height, width), list(pyramid_of(self.stem, self.stages[0].width, (height, width)))
        for stage in self.stages:
            size = stage.downsample.out_size(*size) if stage.downsample is not None else size
            shapes.append((*size, stage.width))
        return tuple(shapes)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """All parts in order of execution, for square images of `image_size`."""
        return self.parts_at(self.image_size, self.image_size)

    def parts_at(self, height: int, width: int) -> tuple[Part, ...]:
        """All parts in order of execution, for images of another size."""
        parts: list[Part] = []
        size = (height, width)

        def add(path: str, spec: Spec, *widths: int, **branch: Any) -> None:
            nonlocal size
            if spec.type != "none":
                parts.append(Part(path, spec, widths, size, spec.out_size(*size), **branch))
                size = parts[-1].out_size

        add("stem", self.stem, self.in_chans, self.stages[0].width)
        for i, stage in enumerate(self.stages):
            if stage.downsample is not None:
                add(f"stages.{i}.downsample", stage.downsample, self.stages[i - 1].width, stage.width)
            for j, block in enumerate(stage.blocks):
                path = f"stages.{i}.blocks.{j}"
                add(f"{path}.position", block.position, stage.width)
                add(f"{path}.mixer", block.mixer, stage.width, norm=block.mixer_norm, layer_scale=block.layer_scale)
                add(f"{path}.ffn_position", block.ffn_position, stage.width)
                add(f"{path}.ffn", block.ffn, stage.width, norm=block.ffn_norm, layer_scale=block.layer_scale)
            add(f"stages.{i}.norm", stage.norm, stage.width)
        shapes = self.features_at(height, width)
        maps: list[Shape] = []
        for i, tap in enumerate(taps_of(self.head, shapes)):
            taken = tuple(source.shape(shapes) for source in tap.sources)
            maps.append((*taken[0][:2], tap.width))
            parts.append(Part(f"taps.{i}", tap.spec, (taken[0][2], tap.width), taken[0][:2], taken[0][:2], maps=taken))
        widths = [channels for *_, channels in maps] or [self.stages[-1].width]
        size = maps[0][:2] if maps else size
        parts.append(Part("head", self.head, (*widths, self.num_classes), size, size, maps=tuple(maps)))
        return tuple(parts)


def _check_taps(head: Spec, shapes: tuple[Shape, ...]) -> None:
    try:
        taps_of(head, shapes)
    except ValueError as error:
        fitting = ", ".join(heads_that_fit(shapes, task_of(head))) or "none"
        raise invalid(f"head: {head.label}: {error}; {task_of(head)} heads that fit: {fitting}") from None


def _check_maps(part: Part) -> None:
    # The classes of a head that pools have no map.
    last = part.widths[0] if part.path == "head" and not part.maps else part.widths[-1]
    for height, width, channels in (*part.inputs, (*part.out_size, last)):
        if channels * height * width > MAX_MAP:
            raise ValueError(f"got a {height}x{width} map of {channels} channels, expected at most {MAX_MAP} elements")


def _bracketed(path: str) -> str:
    """`stages.0.blocks.1` as an address in YAML, `stages[0].blocks[1]`."""
    return "".join(f"[{key}]" if key.isdigit() else f".{key}" for key in path.split(".")).removeprefix(".")
