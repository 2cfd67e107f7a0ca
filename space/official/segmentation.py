"""Segmentation networks as mmsegmentation stores them: a backbone of an official code, perhaps a neck, and a decode head."""

from __future__ import annotations

from collections.abc import Callable

from space.architecture import Architecture
from space.errors import SpaceError
from space.official.checkpoint_format import CheckpointFormat
from space.official.conversion import Children, Conversion, pointwise, renamed, same

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


_HEADS: dict[str, Callable[[Architecture], tuple[Children, Children]]] = {
    "semantics_injection": _semantics_injection, "semantic_fpn": _semantic_fpn,
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
