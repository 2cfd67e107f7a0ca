"""Conversions of official weights, which compose and know the official name of each of our tensors.

A `Conversion` maps the state dict of an official module to that of our module. `renamed` makes a module's conversion from its
children's, so the tables of this package have the structure of the official modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from space.errors import SpaceError

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Conversion:
    """How one official module's weights become ours.

    Args:
        convert: official weights to ours, with names inside the module. A tensor of an unexpected shape keeps it.
        official_name: the official name of one of our tensors; None where the module does not have it.
    """

    convert: Callable[[Weights], dict[str, Tensor]]
    official_name: Callable[[str], str | None]


Children = Mapping[str, tuple[str, Conversion]]
"""Official child module or parameter -> our name, and the conversion of its weights."""


def reshaped(change: Callable[[Tensor], Tensor]) -> Conversion:
    """Keep names, change each tensor."""
    return Conversion(lambda weights: {key: change(value) for key, value in weights.items()}, lambda name: name)


same = reshaped(lambda value: value)
"""Keep names and tensors."""

pointwise = reshaped(lambda value: value.flatten(1) if value.ndim == 4 and value.shape[2:] == (1, 1) else value)
"""A 1x1 convolution becomes a linear layer: (out, in, 1, 1) -> (out, in)."""

flat = reshaped(lambda value: value.flatten())
"""A scale per channel becomes a vector: (1, C, 1, 1) -> (C,)."""


def split(*names: str) -> Conversion:
    """A fused linear layer or 1x1 convolution becomes one linear layer per name, in the order of its rows."""

    def convert(weights: Weights) -> dict[str, Tensor]:
        chunks = {key: _chunks(value, len(names)) for key, value in pointwise.convert(weights).items()}
        return {f"{name}.{key}": values[index] for key, values in chunks.items() for index, name in enumerate(names)}

    def official_name(name: str) -> str | None:
        layer, _, key = name.partition(".")
        return key if layer in names else None

    return Conversion(convert, official_name)


def _chunks(value: Tensor, count: int) -> tuple[Tensor, ...]:
    return value.chunk(count) if value.ndim and not len(value) % count else (value,) * count


def renamed(children: Children) -> Conversion:
    """A module's conversion, from its children's.

    Converting raises SpaceError for a key that belongs to none of the children. Missing keys are not checked here.
    """

    def convert(weights: Weights) -> dict[str, Tensor]:
        grouped: dict[str, dict[str, Tensor]] = {child: {} for child in children}
        for key, value in weights.items():
            child = next((child for child in children if key == child or key.startswith(child + ".")), None)
            if child is None:
                raise SpaceError(f"weights: got the key {key!r}, expected one under {', '.join(children)}")
            grouped[child][key[len(child) + 1 :]] = value
        converted: dict[str, Tensor] = {}
        for child, (ours, inner) in children.items():
            converted |= {_joined(ours, key): value for key, value in inner.convert(grouped[child]).items()}
        return converted

    def official_name(name: str) -> str | None:
        for child, (ours, inner) in children.items():
            if not ours or name == ours or name.startswith(ours + "."):
                found = inner.official_name(name[len(ours) + 1 :] if ours else name)
                if found is not None:
                    return _joined(child, found)
        return None

    return Conversion(convert, official_name)


def _joined(*names: str) -> str:
    return ".".join(filter(None, names))


def branches(norm1: str, mixer: Children, norm2: str, ffn: Children) -> dict[str, tuple[str, Conversion]]:
    """Both residual branches of a block. `mixer` and `ffn` are children of the official block."""
    return {
        norm1: ("mixer.norm", same),
        **{child: (_joined("mixer.operator", ours), inner) for child, (ours, inner) in mixer.items()},
        norm2: ("ffn.norm", same),
        **{child: (_joined("ffn.operator", ours), inner) for child, (ours, inner) in ffn.items()},
    }


# Modules that several of the official codes share.

fused_attention = renamed({"qkv": ("", split("q", "k", "v")), "proj": ("proj", same)})
"""Attention with fused queries, keys and values: UniFormer's `Attention`, DaViT's `WindowAttention` and `ChannelAttention`."""

mlp = renamed({"fc1": ("fc1", pointwise), "fc2": ("fc2", pointwise)})
"""UniFormer's and Container's `Mlp` and `CMlp`, DaViT's `Mlp`."""

patch_embed = renamed({"proj": ("conv", same), "norm": ("norm", same)})
"""`PatchEmbed` of UniFormer, Container and DaViT, Shunted Transformer's `OverlapPatchEmbed`: stems and downsamplers alike."""
