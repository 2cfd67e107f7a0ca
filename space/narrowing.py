"""Part of a search space: all its choices, or those of some stages, restricted to some of their options.

Importing this does not load PyTorch: options of commands are read with it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from space.errors import SpaceError

if TYPE_CHECKING:
    from space.registry import Spec
    from space.search_space import SearchSpace

FIELDS = {"width": "widths", "depth": "depths", "position": "positions", "mixer": "mixers", "ffn": "ffns"}
"""The kinds of choices of a stage, and the field of `StageChoices` that holds their options."""
SHAPE = re.compile(r"(?:stage(?P<stage>\d+)\.)?(?P<kind>[a-z]+)=(?P<options>.+)")
COMMAS = re.compile(r",(?![^()]*\))")
"""Those between options, not those between an operator's own options."""


@dataclass(frozen=True)
class Narrowing:
    """A kind of choices and the options that stay.

    Args:
        kind: `width`, `depth`, `position`, `mixer` or `ffn` of stages, or `stem` or `head`.
        options: as slots name them, such as `ssa(sr_ratio=2)` or `64`; an operator's name alone stands for all its options.
        stage: from 1 on; None for all stages.
    """

    kind: str
    options: tuple[str, ...]
    stage: int | None = None

    @classmethod
    def parse(cls, text: str) -> Narrowing:
        """Read `mixer=ssa,window` or `stage3.mixer=ssa`; ValueError for anything else."""
        found = SHAPE.fullmatch(text.replace(" ", ""))
        kinds = FIELDS if found and found["stage"] else [*FIELDS, "stem", "head"]
        if not found or found["kind"] not in kinds:
            raise ValueError(f"got {text!r:.60}, expected KIND=OPTION[,OPTION] or stageN.KIND=OPTION, where KIND is {', '.join(kinds)}")
        return cls(found["kind"], tuple(COMMAS.split(found["options"])), int(found["stage"]) if found["stage"] else None)

    def __str__(self) -> str:
        where = "" if self.stage is None else f"stage{self.stage}."
        return f"{where}{self.kind}={','.join(self.options)}"


def narrowed(space: SearchSpace, narrowings: Sequence[Narrowing]) -> SearchSpace:
    """The part of a space whose choices are among the given options; of the same name, with members of the space alone.

    Raises:
        SpaceError: there is no such stage, or a choice would be left without an option.
    """
    for one in narrowings:
        if one.kind in ("stem", "head"):
            space = space.replace(**{one.kind: _left(one, getattr(space, one.kind), one.kind)})
            continue
        if one.stage is not None and not 1 <= one.stage <= len(space.stages):
            raise SpaceError(f"only: {one}: got stage {one.stage}, expected one from 1 to {len(space.stages)} of {space.name}")
        stages = list(space.stages)
        for index, stage in enumerate(stages):
            if one.stage in (None, index + 1):
                # A mixer that cannot run at one of the stage's widths is no choice of the whole space.
                stage = stage.replace(mixers=space.mixers[index])
                field = FIELDS[one.kind]
                stages[index] = stage.replace(**{field: _left(one, getattr(stage, field), f"stage {index + 1}")})
        space = space.replace(stages=tuple(stages))
    return space


def _left(narrowing: Narrowing, offered: Sequence[Any], where: str) -> tuple[Any, ...]:
    wanted = {_without_spaces(option) for option in narrowing.options}
    left = tuple(option for option in offered if not _names(option).isdisjoint(wanted))
    if not left:
        expected = ", ".join(map(_label, offered))
        raise SpaceError(f"only: {narrowing}: got none that {where} offers, expected some of {expected}")
    return left


def _names(option: Spec | int) -> set[str]:
    """What stands for an option: an operator's label and its name, or a number."""
    return {str(option)} if isinstance(option, int) else {_without_spaces(option.label), option.type}


def _without_spaces(text: str) -> str:
    """A label as `Narrowing.parse` reads it."""
    return text.replace(" ", "")


def _label(option: Spec | int) -> str:
    return str(option) if isinstance(option, int) else option.label
