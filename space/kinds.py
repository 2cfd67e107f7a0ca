"""The kinds of operator, one registry each, and the annotated types that fields of values use."""

from __future__ import annotations

from typing import Annotated, Any

from space.registry import Registry, Spec


def _unpickle(kind: str, type: str, options: dict[str, Any]) -> Spec:
    return REGISTRIES[kind](type, **options)


NORMS = Registry("norm", "space.operators.norms", _unpickle)
POSITIONS = Registry("position", "space.operators.positional_encodings", _unpickle)
MIXERS = Registry("mixer", "space.operators.mixers", _unpickle)
FFNS = Registry("ffn", "space.operators.ffns", _unpickle)
STEMS = Registry("stem", "space.operators.stems", _unpickle)
DOWNSAMPLERS = Registry("downsampler", "space.operators.downsamplers", _unpickle)
HEADS = Registry("head", "space.operators.heads", _unpickle)
TAPS = Registry("tap", "space.operators.heads", _unpickle)

REGISTRIES = {registry.kind: registry for registry in (NORMS, POSITIONS, MIXERS, FFNS, STEMS, DOWNSAMPLERS, HEADS, TAPS)}

Norm = Annotated[Spec, *NORMS.annotations()]
Position = Annotated[Spec, *POSITIONS.annotations()]
"""A positional encoding."""
Mixer = Annotated[Spec, *MIXERS.annotations()]
Ffn = Annotated[Spec, *FFNS.annotations()]
Stem = Annotated[Spec, *STEMS.annotations()]
Downsampler = Annotated[Spec, *DOWNSAMPLERS.annotations()]
Head = Annotated[Spec, *HEADS.annotations()]
