"""Segmentation networks as mmsegmentation stores them: a backbone of an official code, perhaps a neck, and a decode head."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from space.architecture import Architecture
from space.errors import SpaceError
from space.official.checkpoint_format import CheckpointFormat
from space.official.conversion import Children, Conversion, Weights, pointwise, renamed, same
from space.operators.heads.upernet import POOLED_SIDES

Backbone = Callable[[Architecture], Children]
"""The children of an official backbone without its classifier."""

conv_bn = renamed({"conv": ("linear", pointwise), "bn": ("bn", same)})
"""`ConvModule` of 1x1."""

spatial_conv_bn = renamed({"conv": ("conv", same), "bn": ("bn", same)})
"""`ConvModule` of a larger kernel, or depthwise."""

injection = renamed({"local_embedding": ("local", conv_bn), "global_embedding": ("embed", conv_bn), "global_act": ("gate", conv_bn)})
"""TopFormer's `InjectionMultiSum`."""

lateral = renamed({"conv": ("linear", pointwise)})
"""A lateral `ConvModule` of `FPN`."""


def simple_head(is_depthwise: bool) -> Conversion:
    """TopFormer's `SimpleHead`."""
    return renamed({"linear_fuse": ("fuse", spatial_conv_bn if is_depthwise else conv_bn), "conv_seg": ("fc", pointwise)})


def fpn_head(num_levels: int) -> Conversion:
    """`FPNHead`, whose convolutions alternate with upsampling."""
    convs = {
        f"scale_heads.{level}.{2 * j}": (f"levels.{level}.convs.{j}", renamed({"conv": ("0", same), "bn": ("1", same)}))
        for level in range(num_levels)
        for j in range(max(level, 1))
    }
    return renamed({**convs, "conv_seg": ("fc", pointwise)})


def concatenated(in_dims: Sequence[int]) -> Conversion:
    """A `ConvModule` of 3x3 on concatenated maps becomes a convolution a map, here of so many channels each."""
    total = sum(in_dims)

    def convert(weights: Weights) -> dict[str, Tensor]:
        fits = all(value.ndim > 1 and value.shape[1] == total for value in weights.values())
        return {
            f"{i}.{key}": part for key, value in weights.items()
            for i, part in enumerate(value.split(tuple(in_dims), 1) if fits else [value] * len(in_dims))
        }

    convs = Conversion(convert, lambda name: name.partition(".")[2] or None)
    return renamed({"conv": ("convs", convs), "bn": ("bn", same)})


def uper_head(last_dim: int, width: int, num_levels: int) -> Conversion:
    """`UPerHead` as the children `taps` and `head` of a network. Its auxiliary `FCNHead` has no place.

    Args:
        last_dim: channels of the last feature map.
        width: of the head.
    """
    last = num_levels - 1
    return renamed({
        **{f"lateral_convs.{i}": (f"taps.{i}.lateral", conv_bn) for i in range(last)},
        **{f"psp_modules.{i}.1": (f"taps.{last}.pools.{i}", conv_bn) for i in range(len(POOLED_SIDES))},
        "bottleneck": (f"taps.{last}.bottleneck", concatenated([last_dim] + [width] * len(POOLED_SIDES))),
        **{f"fpn_convs.{i}": (f"head.levels.{i}", concatenated([width])) for i in range(last)},
        "fpn_bottleneck": ("head.bottleneck", concatenated([width] * num_levels)),
        "conv_seg": ("head.fc", pointwise),
    })


def _semantics_injection(architecture: Architecture) -> tuple[Children, Children]:
    num_taps = len(architecture.reductions) - 2
    # The largest scale has no injection.
    taps = {f"SIM.{i}": (f"taps.{i - 1}", injection) for i in range(1, num_taps + 1)}
    return taps, {"decode_head": ("head", simple_head(architecture.head.options["depthwise"]))}


def _semantic_fpn(architecture: Architecture) -> tuple[Children, Children]:
    levels = range(len(architecture.reductions))
    neck = {
        **{f"lateral_convs.{i}": (f"taps.{i}", lateral) for i in levels},
        **{f"fpn_convs.{i}.conv": (f"head.levels.{i}.pyramid", same) for i in levels},
    }
    return {}, {"neck": ("", renamed(neck)), "decode_head": ("head", fpn_head(len(levels)))}


def _upernet(architecture: Architecture) -> tuple[Children, Children]:
    widths = [stage.width for stage in architecture.stages]
    head = uper_head(widths[-1], architecture.head.options["width"], len(widths))
    return {}, {"decode_head": ("", head)}


_HEADS: dict[str, Callable[[Architecture], tuple[Children, Children]]] = {
    "semantics_injection": _semantics_injection, "semantic_fpn": _semantic_fpn, "upernet": _upernet,
}
"""By head: what the backbone holds of it, and the rest."""


def segmentation_format(name: str, signature: tuple[str, ...], backbone: Backbone) -> CheckpointFormat:
    """The format of segmentation networks on a backbone.

    Args:
        signature: of the backbone's state dicts.
    """

    def conversion(architecture: Architecture) -> Conversion:
        if architecture.head.type not in _HEADS:
            raise SpaceError(f"head: got {architecture.head.type}, expected {' or '.join(_HEADS)}")
        inside, outside = _HEADS[architecture.head.type](architecture)
        return renamed({**outside, "backbone": ("", renamed({**backbone(architecture), **inside}))})

    modules = (*(f"backbone.{module}" for module in signature), "decode_head.conv_seg")
    return CheckpointFormat(f"{name}'s segmentation network", modules, conversion)
