"""Weights of the official implementations: UniFormer, Shunted Transformer, TopFormer, Container, DaViT, timm's DaViT, and
mmsegmentation's networks on them.

A state dict does not tell the number of attention heads: fused matrices have the same shapes for any. They come from the
network's architecture.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence

from torch import Tensor

from space.architecture import Architecture
from space.errors import SpaceError
from space.files import load_architecture, parent_names
from space.network import TokenMixerNet
from space.official.checkpoint_format import CheckpointFormat
from space.official.conversion import Weights
from space.official.davit import DAVIT, DAVIT_SEGMENTATION, TIMM
from space.official.shunted import SHUNTED, SHUNTED_SEGMENTATION
from space.official.topformer import TOPFORMER, TOPFORMER_SEGMENTATION
from space.official.uniformer import CONTAINER, UNIFORMER, UNIFORMER_SEGMENTATION

# Container's state dicts have UniFormer's signature, too.
FORMATS = (
    CONTAINER, UNIFORMER, SHUNTED, TOPFORMER, DAVIT, TIMM,
    UNIFORMER_SEGMENTATION, SHUNTED_SEGMENTATION, TOPFORMER_SEGMENTATION, DAVIT_SEGMENTATION,
)
MAX_LISTED = 4


def load_official(network: TokenMixerNet, state_dict: Weights) -> int:
    """Fill a network with the weights of its official implementation, whose format is recognised by its keys.

    Warns where the head sizes of the architecture are not those of a published network.

    Returns:
        The number of official tensors that were used.

    Raises:
        SpaceError: the format is unknown, or keys are missing, left over or of another shape. The network is unchanged then.
    """
    name = network.architecture.name
    for key, value in state_dict.items():
        if not isinstance(value, Tensor):
            raise SpaceError(f"weights: {key}: got {type(value).__name__}, expected a tensor")
    form = _format_of(state_dict)
    try:
        conversion = form.conversion(network.architecture)
    except SpaceError as error:
        raise SpaceError(f"weights: got {form.name}'s, which do not fit {name}: {error}") from None
    ours = network.state_dict()
    # A tensor without an official counterpart is reported as missing under its own name.
    official = {key: conversion.official_name(key) or key for key in ours}
    used = {key: value for key, value in state_dict.items() if key in official.values()}
    converted = conversion.convert(used)
    # Counters of batches change nothing in evaluation, and old checkpoints have none.
    missing = dict.fromkeys(official[key] for key in ours if key not in converted and not key.endswith("num_batches_tracked"))
    reshaped = {
        official[key]: f"{official[key]}: got {_shape(value)}, expected {_shape(ours[key])} in {key}"
        for key, value in converted.items() if value.shape != ours[key].shape
    }
    left_over = [key for key in state_dict if key not in used]
    mistakes = {"missing": missing, "left over": left_over, "of another shape": reshaped.values()}
    if text := "; ".join(_listed(kind, list(keys)) for kind, keys in mistakes.items() if keys):
        raise SpaceError(f"weights: got {form.name}'s, which do not fit {name}: {text}")
    if doubt := _doubtful_heads(network.architecture):
        warnings.warn(doubt, stacklevel=2)
    network.load_state_dict(converted, strict=False)
    return len(used)


def official_tensor(architecture: Architecture, state_dict: Weights, name: str) -> Tensor | None:
    """The official tensor that becomes one of ours; None where there is none."""
    try:
        official = _format_of(state_dict).conversion(architecture).official_name(name)
    except SpaceError:
        # `load_official` says what does not fit.
        return None
    return None if official is None else state_dict.get(official)


def _format_of(keys: Collection[str]) -> CheckpointFormat:
    for form in FORMATS:
        if form.matches(keys):
            return form
    first = ", ".join(list(keys)[:MAX_LISTED]) or "none"
    raise SpaceError(f"weights: got the keys {first}, ..., expected those of {', '.join(form.name for form in FORMATS)}")


def _doubtful_heads(architecture: Architecture) -> str:
    """A warning where the checkpoint may have other head sizes than the architecture; empty where a published network has them."""
    sizes = _head_sizes(architecture)
    published = [parent for parent in map(load_architecture, parent_names(architecture.task)) if _head_sizes(parent).keys() == sizes.keys()]
    if not sizes or any(_head_sizes(parent) == sizes for parent in published):
        return ""
    got = ", ".join(dict.fromkeys(map(str, sizes.values())))
    expected = "".join(f"; {p.name} has {', '.join(dict.fromkeys(map(str, _head_sizes(p).values())))}" for p in published)
    return f"weights: head sizes are not in a checkpoint: {architecture.name}'s {got} fit, and so do others{expected}"


def _head_sizes(architecture: Architecture) -> dict[tuple[int, int, int], int]:
    """Channels per attention head by stage, block and width."""
    return {
        (i, j, stage.width): block.mixer.options["head_dim"]
        for i, stage in enumerate(architecture.stages)
        for j, block in enumerate(stage.blocks)
        if "head_dim" in block.mixer.options
    }


def _listed(kind: str, keys: Sequence[str]) -> str:
    more = f", and {len(keys) - MAX_LISTED} more" if len(keys) > MAX_LISTED else ""
    return f"{len(keys)} {kind} ({', '.join(keys[:MAX_LISTED])}{more})"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"
