"""UniFormer (Sense-X/UniFormer) and Container (allenai/container), which is built around the same modules."""

from __future__ import annotations

from space.architecture import Architecture
from space.official.checkpoint_format import CheckpointFormat, Table, all_blocks, constant, stem_and_downsamplers
from space.official.conversion import (
    Children,
    Conversion,
    branches,
    flat,
    fused_attention,
    mlp,
    patch_embed,
    pointwise,
    renamed,
    same,
    split,
)
from space.official.segmentation import segmentation_format

_SCALES = {"gamma_1": ("mixer.scale", flat), "gamma_2": ("ffn.scale", flat)}

cblock = renamed({
    "pos_embed": ("position.conv", same),
    **branches(
        "norm1", {"conv1": ("value", pointwise), "attn": ("conv", same), "conv2": ("proj", pointwise)}, "norm2", {"mlp": ("", mlp)}
    ),
    **_SCALES,
})
"""`CBlock` of both."""

sablock = renamed({
    "pos_embed": ("position.conv", same),
    **branches("norm1", {"attn": ("", fused_attention)}, "norm2", {"mlp": ("", mlp)}),
    **_SCALES,
})
"""UniFormer's `SABlock`."""

mixblock = renamed({
    "pos_embed": ("position.conv", same),
    **branches(
        "norm1",
        {"conv1": ("", split("q", "k", "v")), "conv": ("static", same), "sa_weight": ("gate", same), "conv2": ("proj", pointwise)},
        "norm2",
        {"mlp": ("", mlp)},
    ),
})
"""Container's `MixBlock`."""

head_embedding = renamed({
    "proj.0": ("conv1", same), "proj.1": ("norm1", same), "proj.3": ("conv2", same), "proj.4": ("norm2", same),
})
"""UniFormer's convolutional stem."""

middle_embedding = renamed({"proj.0": ("conv", same), "proj.1": ("norm", same)})
"""UniFormer's convolutional downsampler."""

_STEMS: Table = {"patch_stem": constant(patch_embed), "conv_stem": constant(head_embedding)}
_DOWNSAMPLERS: Table = {"patch_downsample": constant(patch_embed), "conv_downsample": constant(middle_embedding)}


def _backbone(architecture: Architecture, mixers: Table) -> Children:
    return {
        **stem_and_downsamplers(architecture, _STEMS, _DOWNSAMPLERS, lambda i: f"patch_embed{i + 1}"),
        **all_blocks(architecture, mixers, lambda i, j: f"blocks{i + 1}.{j}"),
    }


def _network(architecture: Architecture, mixers: Table) -> Conversion:
    return renamed({
        **_backbone(architecture, mixers), "norm": ("head.norm", same), "head": ("head.fc", same), "aux_head": ("head.aux", same),
    })


def dense_uniformer(architecture: Architecture) -> Children:
    """A backbone for dense prediction, with its output norms."""
    return {**_backbone(architecture, _MIXERS), **{f"norm{i + 1}": (f"taps.{i}.norm", same) for i in range(len(architecture.stages))}}


_MIXERS: Table = {"local_mhra": constant(cblock), "global_mhra": constant(sablock)}
_SIGNATURE = ("patch_embed1", "blocks1.0.pos_embed")

UNIFORMER = CheckpointFormat("UniFormer", _SIGNATURE, lambda architecture: _network(architecture, _MIXERS))
UNIFORMER_SEGMENTATION = segmentation_format("UniFormer", _SIGNATURE, dense_uniformer)
CONTAINER = CheckpointFormat(
    "Container",
    (*_SIGNATURE, "blocks4.0.sa_weight"),
    lambda architecture: _network(architecture, {"local_mhra": constant(cblock), "container": constant(mixblock)}),
)
