"""Checkpoint formats: the module names of an official code, and how its tensors become ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from space.architecture import Architecture
from space.errors import SpaceError
from space.official.conversion import Children, Conversion
from space.registry import Spec

Table = Mapping[str, Callable[[Spec, int], Conversion]]
"""Operator name -> conversion of its official weights, given the operator's options and width."""


@dataclass(frozen=True)
class CheckpointFormat:
    """The state dicts of one official code.

    Args:
        name: for messages.
        signature: modules or parameters that all its state dicts have. The first format whose signature matches is taken.
        conversion: the whole network's; SpaceError where the architecture has operators that the code lacks.
    """

    name: str
    signature: tuple[str, ...]
    conversion: Callable[[Architecture], Conversion]

    def matches(self, keys: Iterable[str]) -> bool:
        """Whether a state dict's keys have the signature."""
        return all(any(f"{key}.".startswith(f"{module}.") for key in keys) for module in self.signature)


def constant(conversion: Conversion) -> Callable[[Spec, int], Conversion]:
    """The same conversion for every option and width."""
    return lambda spec, width: conversion


def stem_and_downsamplers(architecture: Architecture, stems: Table, downsamplers: Table, official: Callable[[int], str]) -> Children:
    """The stem and all downsamplers as children of the network; `official` gives their names by stage."""
    children = {official(0): ("stem", _conversion_of(stems, "stem", architecture.stem, architecture.stages[0].width))}
    for i, stage in enumerate(architecture.stages):
        if stage.downsample:
            conversion = _conversion_of(downsamplers, f"stages[{i}].downsample", stage.downsample, stage.width)
            children[official(i)] = (f"stages.{i}.downsample", conversion)
    return children


def all_blocks(architecture: Architecture, table: Table, official: Callable[[int, int], str]) -> Children:
    """All blocks as children of the network, converted by their mixers; `official` gives their names by stage and index."""
    return {
        official(i, j): (f"stages.{i}.blocks.{j}", _conversion_of(table, f"stages[{i}].blocks[{j}].mixer", block.mixer, stage.width))
        for i, stage in enumerate(architecture.stages)
        for j, block in enumerate(stage.blocks)
    }


def _conversion_of(table: Table, where: str, spec: Spec, width: int) -> Conversion:
    """The conversion of an operator; SpaceError where the official code has none."""
    if spec.type not in table:
        raise SpaceError(f"{where}: got {spec.type}, expected {' or '.join(table)}")
    return table[spec.type](spec, width)
