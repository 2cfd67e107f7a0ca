"""What a network's official code calls its modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from space.architecture import Architecture
from space.errors import SpaceError
from space.official.weights import Children, Convert
from space.registry import Spec

Table = Mapping[str, Callable[[Spec, int], Convert]]
"""By an operator's name, how its official counterpart's weights are converted, given its options and width."""


@dataclass(frozen=True)
class Layout:
    """The names of one official code.

    Args:
        name: for messages.
        marks: modules that tell its state dicts from others.
        convert: the whole network's conversion; SpaceError where the architecture has operators that the code lacks.
    """

    name: str
    marks: tuple[str, ...]
    convert: Callable[[Architecture], Convert]

    def fits(self, keys: Mapping[str, object]) -> bool:
        """Whether a state dict has all the marks."""
        return all(any(key == mark or key.startswith(mark + ".") for key in keys) for mark in self.marks)


def always(convert: Convert) -> Callable[[Spec, int], Convert]:
    """The same conversion for every option and width."""
    return lambda spec, width: convert


def one_of(table: Table, place: str, spec: Spec, width: int) -> Convert:
    """The conversion of the operator at a place; SpaceError where the official code has no such operator."""
    if spec.type not in table:
        raise SpaceError(f"{place}: got {spec.type}, expected {' or '.join(table)}")
    return table[spec.type](spec, width)


def entrances(architecture: Architecture, stems: Table, downsamplers: Table, official: Callable[[int], str]) -> Children:
    """The stem and all downsamplers as children of the network; `official` names them by their stages."""
    children = {official(0): ("stem", one_of(stems, "stem", architecture.stem, architecture.stages[0].width))}
    for i, stage in enumerate(architecture.stages):
        if stage.downsample:
            convert = one_of(downsamplers, f"stages[{i}].downsample", stage.downsample, stage.width)
            children[official(i)] = (f"stages.{i}.downsample", convert)
    return children


def each_block(architecture: Architecture, table: Table, official: Callable[[int, int], str]) -> Children:
    """All blocks as children of the network, converted by their mixers; `official` names them by stage and place in it."""
    return {
        official(i, j): (f"stages.{i}.blocks.{j}", one_of(table, f"stages[{i}].blocks[{j}].mixer", block.mixer, stage.width))
        for i, stage in enumerate(architecture.stages)
        for j, block in enumerate(stage.blocks)
    }
