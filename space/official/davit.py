"""DaViT (dingmyu/davit), and timm's DaViT: the same modules under other names."""

from __future__ import annotations

from collections.abc import Callable

from space.architecture import Architecture
from space.official.checkpoint_format import CheckpointFormat, all_blocks, constant, stem_and_downsamplers
from space.official.conversion import Children, Conversion, branches, fused_attention, mlp, patch_embed, renamed, same
from space.official.segmentation import segmentation_format

cpe = renamed({"proj": ("conv", same)})
"""`ConvPosEnc`."""

_BRANCHES = branches("norm1", {"attn": ("", fused_attention)}, "norm2", {"mlp": ("", mlp)})

block = renamed({"cpe.0": ("position", cpe), "cpe.1": ("ffn_position", cpe), **_BRANCHES})
"""`SpatialBlock` and `ChannelBlock`, which have the same keys."""

timm_block = renamed({"cpe1": ("position", cpe), "cpe2": ("ffn_position", cpe), **_BRANCHES})
timm_embed = renamed({"conv": ("conv", same), "norm": ("norm", same)})
"""timm's `Stem` and `Downsample`."""


def _stem_and_downsamplers(architecture: Architecture, embed: Conversion, official: Callable[[int], str]) -> Children:
    return stem_and_downsamplers(architecture, {"davit_stem": constant(embed)}, {"davit_downsample": constant(embed)}, official)


def _pairs(architecture: Architecture, block: Conversion, official: str) -> Children:
    """Blocks over windows and over channels; two of them are one in the official count."""
    mixers = dict.fromkeys(("window", "channel_group"), constant(block))
    return all_blocks(architecture, mixers, lambda i, j: official.format(i, j // 2, j % 2))


def _backbone(architecture: Architecture) -> Children:
    return {
        **_stem_and_downsamplers(architecture, patch_embed, "patch_embeds.{}".format),
        **_pairs(architecture, block, "main_blocks.{}.{}.{}"),
    }


def dense_davit(architecture: Architecture) -> Children:
    """A backbone for dense prediction, with its output norms."""
    return {**_backbone(architecture), **{f"norm{i}": (f"taps.{i}.norm", same) for i in range(len(architecture.stages))}}


_SIGNATURE = ("patch_embeds.0", "main_blocks.0.0.0.cpe")

DAVIT = CheckpointFormat("DaViT", _SIGNATURE, lambda architecture: renamed({
    **_backbone(architecture), "norms": ("head.norm", same), "head": ("head.fc", same),
}))
DAVIT_SEGMENTATION = segmentation_format("DaViT", _SIGNATURE, dense_davit)

TIMM = CheckpointFormat("timm's DaViT", ("stem.conv", "stages.0.blocks.0.0.cpe1"), lambda architecture: renamed({
    **_stem_and_downsamplers(architecture, timm_embed, lambda i: f"stages.{i}.downsample" if i else "stem"),
    **_pairs(architecture, timm_block, "stages.{}.blocks.{}.{}"),
    "head.norm": ("head.norm", same),
    "head.fc": ("head.fc", same),
}))
