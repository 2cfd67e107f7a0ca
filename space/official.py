"""Weights of the official implementations, renamed to ours.

A `Convert` takes the state dict of one official module and returns the state dict of ours. Converts compose: `renamed`
builds a module's from its children's, so the tables below read like the official modules themselves. Blocks become a
`space.network.Block`; everything else becomes the operator of the same task.

Head counts cannot be read off a state dict (a fused matrix looks the same for any of them), so they are arguments.

Sources: UniFormer (Sense-X/UniFormer), Shunted Transformer (OliverRensu/Shunted-Transformer), TopFormer
(hustvl/TopFormer), Container (allenai/container), DaViT (dingmyu/davit).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from space.errors import SpaceError

Convert = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
Children = Mapping[str, tuple[str, Convert]]
"""Official child or parameter -> ours, and how its weights are converted."""


def same(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names and layout agree."""
    return dict(weights)


def pointwise(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A 1x1 convolution becomes a linear layer: (out, in, 1, 1) -> (out, in)."""
    return {key: value.flatten(1) if value.ndim == 4 else value for key, value in weights.items()}


def flat(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A scale a channel becomes a vector: (1, C, 1, 1) -> (C,)."""
    return {key: value.flatten() for key, value in weights.items()}


def split(*names: str) -> Convert:
    """A fused linear layer or 1x1 convolution becomes one linear layer a name, in the order of its rows."""

    def convert(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        chunks = {key: value.chunk(len(names)) for key, value in pointwise(weights).items()}
        return {f"{name}.{key}": values[index] for key, values in chunks.items() for index, name in enumerate(names)}

    return convert


def renamed(children: Children) -> Convert:
    """A module's convert from its children's.

    The convert raises SpaceError for a key that belongs to none of the children. Missing keys are left to
    `load_state_dict`.
    """

    def convert(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        grouped: dict[str, dict[str, Tensor]] = {child: {} for child in children}
        for key, value in weights.items():
            child = next((child for child in children if key == child or key.startswith(child + ".")), None)
            if child is None:
                raise SpaceError(f"weights: got the key {key!r}, expected one under {', '.join(children)}")
            grouped[child][key[len(child) + 1 :]] = value
        converted: dict[str, Tensor] = {}
        for child, (ours, inner) in children.items():
            converted |= {".".join(filter(None, (ours, key))): value for key, value in inner(grouped[child]).items()}
        return converted

    return convert


def _branches(norm1: str, mixer: Children, norm2: str, ffn: Children) -> dict[str, tuple[str, Convert]]:
    """Both residual branches of a block; operators' children stand directly in it or under a name of their own."""
    return {
        norm1: ("mixer.norm", same),
        **{child: (f"mixer.operator.{ours}".rstrip("."), convert) for child, (ours, convert) in mixer.items()},
        norm2: ("ffn.norm", same),
        **{child: (f"ffn.operator.{ours}".rstrip("."), convert) for child, (ours, convert) in ffn.items()},
    }


# Attention with fused queries, keys and values: UniFormer's `Attention`, DaViT's `WindowAttention` and `ChannelAttention`.
fused_attention = renamed({"qkv": ("", split("q", "k", "v")), "proj": ("proj", same)})

# UniFormer's and Container's `Mlp` and `CMlp`, DaViT's `Mlp`.
mlp = renamed({"fc1": ("fc1", pointwise), "fc2": ("fc2", pointwise)})

_scales = {"gamma_1": ("mixer.scale", flat), "gamma_2": ("ffn.scale", flat)}

# UniFormer's and Container's `CBlock`.
uniformer_cblock = renamed({
    "pos_embed": ("position.conv", same),
    **_branches(
        "norm1", {"conv1": ("value", pointwise), "attn": ("conv", same), "conv2": ("proj", pointwise)}, "norm2", {"mlp": ("", mlp)}
    ),
    **_scales,
})

# UniFormer's `SABlock`.
uniformer_sablock = renamed({
    "pos_embed": ("position.conv", same),
    **_branches("norm1", {"attn": ("", fused_attention)}, "norm2", {"mlp": ("", mlp)}),
    **_scales,
})

# Container's `MixBlock`.
container_mixblock = renamed({
    "pos_embed": ("position.conv", same),
    **_branches(
        "norm1",
        {"conv1": ("", split("q", "k", "v")), "conv": ("static", same), "sa_weight": ("gate", same), "conv2": ("proj", pointwise)},
        "norm2",
        {"mlp": ("", mlp)},
    ),
})

# `PatchEmbed` of UniFormer, Container and DaViT, Shunted Transformer's `OverlapPatchEmbed`: stems and downsamplers alike.
patch_embed = renamed({"proj": ("conv", same), "norm": ("norm", same)})

# UniFormer's convolutional stem and downsampler.
uniformer_head_embedding = renamed({
    "proj.0": ("conv1", same), "proj.1": ("norm1", same), "proj.3": ("conv2", same), "proj.4": ("norm2", same),
})
uniformer_middle_embedding = renamed({"proj.0": ("conv", same), "proj.1": ("norm", same)})

# DaViT's `ConvPosEnc`, and its `SpatialBlock` and `ChannelBlock`, which have the same keys.
davit_cpe = renamed({"proj": ("conv", same)})
davit_block = renamed({
    "cpe.0": ("position", davit_cpe),
    "cpe.1": ("ffn_position", davit_cpe),
    **_branches("norm1", {"attn": ("", fused_attention)}, "norm2", {"mlp": ("", mlp)}),
})

# TopFormer's `Conv2d_BN`, `Attention`, `Mlp` and `Block`.
topformer_conv_bn = renamed({"c": ("linear", pointwise), "bn": ("bn", same)})
topformer_attention = renamed({
    "to_q": ("q", topformer_conv_bn), "to_k": ("k", topformer_conv_bn), "to_v": ("v", topformer_conv_bn),
    "proj.1": ("proj", topformer_conv_bn),
})
topformer_mlp = renamed({"fc1": ("fc1", topformer_conv_bn), "dwconv": ("conv", same), "fc2": ("fc2", topformer_conv_bn)})
topformer_block = renamed({"attn": ("mixer.operator", topformer_attention), "mlp": ("ffn.operator", topformer_mlp)})

# Shunted Transformer's `Mlp`.
shunted_mlp = renamed({"fc1": ("fc1", same), "dwconv.dwconv": ("conv", same), "fc2": ("fc2", same)})


def shunted_head(num_convs: int) -> Convert:
    """Shunted Transformer's `Head` with `num_convs` 3x3 convolutions."""
    children: dict[str, tuple[str, Convert]] = {"norm": ("norm", same), f"conv.{3 * (num_convs + 1)}": ("proj", same)}
    for index in range(num_convs + 1):
        children |= {f"conv.{3 * index}": (f"conv{index}", same), f"conv.{3 * index + 1}": (f"norm{index}", same)}
    return renamed(children)


def shunted_attention(num_heads: int, sr_ratio: int) -> Convert:
    """Shunted Transformer's `Attention`: its coarse heads come first and then its fine ones; ours alternate."""
    if sr_ratio == 1:
        return renamed({
            "q": ("q", same), "kv": ("scales.0", split("k", "v")), "local_conv": ("scales.0.local", same), "proj": ("proj", same),
        })

    def alternate(dim: int) -> Convert:
        def convert(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {key: _alternate(value, num_heads, dim) if value.ndim > dim else value for key, value in weights.items()}

        return convert

    scales = {
        child: (f"scales.{index}{ours}", convert)
        for index in (0, 1)
        for child, ours, convert in (
            (f"sr{index + 1}", ".merge", same),
            (f"norm{index + 1}", ".norm", same),
            (f"kv{index + 1}", "", split("k", "v")),
            (f"local_conv{index + 1}", ".local", same),
        )
    }
    return renamed({"q": ("q", alternate(0)), **scales, "proj": ("proj", alternate(1))})


def shunted_block(num_heads: int, sr_ratio: int) -> Convert:
    """Shunted Transformer's `Block`."""
    return renamed(_branches("norm1", {"attn": ("", shunted_attention(num_heads, sr_ratio))}, "norm2", {"mlp": ("", shunted_mlp)}))


def _alternate(value: Tensor, num_heads: int, dim: int) -> Tensor:
    """Reorder the heads along `dim`: 0, h/2, 1, h/2 + 1, ..."""
    order = torch.arange(num_heads).view(2, -1).T.flatten()
    return value.unflatten(dim, (num_heads, -1)).index_select(dim, order).flatten(dim, dim + 1)
