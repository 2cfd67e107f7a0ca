"""How weights are renamed: conversions that compose, and know where each tensor of ours comes from.

A `Convert` takes the state dict of one official module to the state dict of ours. `renamed` makes a module's from its
children's, so the tables of this package read like the official modules themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from space.errors import SpaceError

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Convert:
    """One official module's weights as ours. Calling it converts.

    Args:
        forward: official weights to ours, by names inside the module. Shapes that do not fit pass through unhurt.
        origin: the official name of one of our tensors; None where the module has nothing to do with it.
    """

    forward: Callable[[Weights], dict[str, Tensor]]
    origin: Callable[[str], str | None]

    def __call__(self, weights: Weights) -> dict[str, Tensor]:
        return self.forward(weights)


Children = Mapping[str, tuple[str, Convert]]
"""Official child or parameter -> ours, and how its weights are converted."""


def reshaped(change: Callable[[Tensor], Tensor]) -> Convert:
    """Names agree, tensors change one by one."""
    return Convert(lambda weights: {key: change(value) for key, value in weights.items()}, lambda name: name)


same = reshaped(lambda value: value)
"""Names and layout agree."""

pointwise = reshaped(lambda value: value.flatten(1) if value.ndim == 4 and value.shape[2:] == (1, 1) else value)
"""A 1x1 convolution becomes a linear layer: (out, in, 1, 1) -> (out, in)."""

flat = reshaped(lambda value: value.flatten())
"""A scale a channel becomes a vector: (1, C, 1, 1) -> (C,)."""


def split(*names: str) -> Convert:
    """A fused linear layer or 1x1 convolution becomes one linear layer a name, in the order of its rows."""

    def convert(weights: Weights) -> dict[str, Tensor]:
        chunks = {key: _chunks(value, len(names)) for key, value in pointwise(weights).items()}
        return {f"{name}.{key}": values[index] for key, values in chunks.items() for index, name in enumerate(names)}

    def origin(name: str) -> str | None:
        owner, _, key = name.partition(".")
        return key if owner in names else None

    return Convert(convert, origin)


def _chunks(value: Tensor, count: int) -> tuple[Tensor, ...]:
    return value.chunk(count) if value.ndim and not len(value) % count else (value,) * count


def renamed(children: Children) -> Convert:
    """A module's convert from its children's.

    It raises SpaceError for a key that belongs to none of the children. Missing keys are left to whoever loads.
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
            converted |= {_joined(ours, key): value for key, value in inner(grouped[child]).items()}
        return converted

    def origin(name: str) -> str | None:
        for child, (ours, inner) in children.items():
            if not ours or name == ours or name.startswith(ours + "."):
                found = inner.origin(name[len(ours) + 1 :] if ours else name)
                if found is not None:
                    return _joined(child, found)
        return None

    return Convert(convert, origin)


def _joined(*names: str) -> str:
    return ".".join(filter(None, names))


def branches(norm1: str, mixer: Children, norm2: str, ffn: Children) -> dict[str, tuple[str, Convert]]:
    """Both residual branches of a block; operators' children stand directly in it or under a name of their own."""
    return {
        norm1: ("mixer.norm", same),
        **{child: (_joined("mixer.operator", ours), convert) for child, (ours, convert) in mixer.items()},
        norm2: ("ffn.norm", same),
        **{child: (_joined("ffn.operator", ours), convert) for child, (ours, convert) in ffn.items()},
    }


# Modules that several of the official codes share.

fused_attention = renamed({"qkv": ("", split("q", "k", "v")), "proj": ("proj", same)})
"""Attention with fused queries, keys and values: UniFormer's `Attention`, DaViT's `WindowAttention` and `ChannelAttention`."""

mlp = renamed({"fc1": ("fc1", pointwise), "fc2": ("fc2", pointwise)})
"""UniFormer's and Container's `Mlp` and `CMlp`, DaViT's `Mlp`."""

patch_embed = renamed({"proj": ("conv", same), "norm": ("norm", same)})
"""`PatchEmbed` of UniFormer, Container and DaViT, Shunted Transformer's `OverlapPatchEmbed`: stems and downsamplers alike."""
