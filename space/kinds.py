"""The kinds of operator there are, one registry each, and the annotated types that fields of values use."""

from __future__ import annotations

from typing import Annotated

from space.registry import Registry, Spec

NORMS = Registry("norm", "space.norms")
POSITIONS = Registry("position", "space.positions")
MIXERS = Registry("mixer", "space.mixers")
FFNS = Registry("ffn", "space.ffns")
STEMS = Registry("stem", "space.stems")
DOWNSAMPLERS = Registry("downsampler", "space.downsamplers")
HEADS = Registry("head", "space.heads")

REGISTRIES = {registry.kind: registry for registry in (NORMS, POSITIONS, MIXERS, FFNS, STEMS, DOWNSAMPLERS, HEADS)}

Norm = Annotated[Spec, *NORMS.annotations()]
Position = Annotated[Spec, *POSITIONS.annotations()]
Mixer = Annotated[Spec, *MIXERS.annotations()]
Ffn = Annotated[Spec, *FFNS.annotations()]
Stem = Annotated[Spec, *STEMS.annotations()]
Downsampler = Annotated[Spec, *DOWNSAMPLERS.annotations()]
Head = Annotated[Spec, *HEADS.annotations()]
