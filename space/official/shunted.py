"""Shunted Transformer (OliverRensu/Shunted-Transformer)."""

from __future__ import annotations

import torch
from torch import Tensor

from space.architecture import Architecture
from space.official.checkpoint_format import CheckpointFormat, all_blocks, constant, stem_and_downsamplers
from space.official.conversion import Children, Conversion, branches, patch_embed, renamed, reshaped, same, split
from space.official.segmentation import segmentation_format
from space.registry import Spec

mlp = renamed({"fc1": ("fc1", same), "dwconv.dwconv": ("conv", same), "fc2": ("fc2", same)})
"""`Mlp`."""


def head(num_convs: int) -> Conversion:
    """`Head`, the stem, with `num_convs` 3x3 convolutions."""
    children: dict[str, tuple[str, Conversion]] = {"norm": ("norm", same), f"conv.{3 * (num_convs + 1)}": ("proj", same)}
    for index in range(num_convs + 1):
        children |= {f"conv.{3 * index}": (f"conv{index}", same), f"conv.{3 * index + 1}": (f"norm{index}", same)}
    return renamed(children)


def attention(num_heads: int, sr_ratio: int) -> Conversion:
    """`Attention`. Official heads are first all coarse, then all fine ones; ours alternate."""
    if sr_ratio == 1:
        return renamed({
            "q": ("q", same), "kv": ("scales.0", split("k", "v")), "local_conv": ("scales.0.local", same), "proj": ("proj", same),
        })
    scales = {
        child: (f"scales.{index}{ours}", conversion)
        for index in (0, 1)
        for child, ours, conversion in (
            (f"sr{index + 1}", ".merge", same),
            (f"norm{index + 1}", ".norm", same),
            (f"kv{index + 1}", "", split("k", "v")),
            (f"local_conv{index + 1}", ".local", same),
        )
    }
    rows, columns = (reshaped(lambda value, dim=dim: _alternate(value, num_heads, dim)) for dim in (0, 1))  # type: ignore[misc]
    return renamed({"q": ("q", rows), **scales, "proj": ("proj", columns)})


def _alternate(value: Tensor, num_heads: int, dim: int) -> Tensor:
    """Reorder the heads along `dim`: 0, h/2, 1, h/2 + 1, ..."""
    if value.ndim <= dim or value.shape[dim] % num_heads:
        return value
    order = torch.arange(num_heads, device=value.device).view(2, -1).T.flatten()
    return value.unflatten(dim, (num_heads, -1)).index_select(dim, order).flatten(dim, dim + 1)


def block(num_heads: int, sr_ratio: int) -> Conversion:
    """`Block`."""
    mixer: Children = {"attn": ("", attention(num_heads, sr_ratio))}
    return renamed(branches("norm1", mixer, "norm2", {"mlp": ("", mlp)}))


def _head(spec: Spec, width: int) -> Conversion:
    return head(spec.options["num_convs"])


def _block(spec: Spec, width: int) -> Conversion:
    # Weights do not tell the number of heads.
    return block(width // spec.options["head_dim"], spec.options["sr_ratio"])


def _backbone(architecture: Architecture) -> Children:
    return {
        **stem_and_downsamplers(
            architecture, {"shunted_stem": _head}, {"overlap_downsample": constant(patch_embed)}, lambda i: f"patch_embed{i + 1}"
        ),
        **all_blocks(architecture, {"ssa": _block}, lambda i, j: f"block{i + 1}.{j}"),
        **{f"norm{i + 1}": (f"stages.{i}.norm", same) for i in range(len(architecture.stages))},
    }


_SIGNATURE = ("patch_embed1.conv", "block1.0.attn")

SHUNTED = CheckpointFormat(
    "Shunted Transformer", _SIGNATURE, lambda architecture: renamed({**_backbone(architecture), "head": ("head.fc", same)})
)
SHUNTED_SEGMENTATION = segmentation_format("Shunted Transformer", _SIGNATURE, _backbone)
