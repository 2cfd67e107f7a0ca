"""The kinds of operator there are, one registry each, and the annotated types that fields of values use."""

from __future__ import annotations

from typing import Annotated, Any

from space.registry import Registry, Spec


def _unpickled(kind: str, type: str, options: dict[str, Any]) -> Spec:
    return REGISTRIES[kind](type, **options)


NORMS = Registry("norm", "space.norms", _unpickled)
POSITIONS = Registry("position", "space.positions", _unpickled)
MIXERS = Registry("mixer", "space.mixers", _unpickled)
FFNS = Registry("ffn", "space.ffns", _unpickled)
STEMS = Registry("stem", "space.stems", _unpickled)
DOWNSAMPLERS = Registry("downsampler", "space.downsamplers", _unpickled)
HEADS = Registry("head", "space.heads", _unpickled)

REGISTRIES = {registry.kind: registry for registry in (NORMS, POSITIONS, MIXERS, FFNS, STEMS, DOWNSAMPLERS, HEADS)}

Norm = Annotated[Spec, *NORMS.annotations()]
Position = Annotated[Spec, *POSITIONS.annotations()]
Mixer = Annotated[Spec, *MIXERS.annotations()]
Ffn = Annotated[Spec, *FFNS.annotations()]
Stem = Annotated[Spec, *STEMS.annotations()]
Downsampler = Annotated[Spec, *DOWNSAMPLERS.annotations()]
Head = Annotated[Spec, *HEADS.annotations()]
