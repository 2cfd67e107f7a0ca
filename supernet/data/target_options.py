"""How the targets of a source of images are read, where the source itself does not tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

VOID = 255
"""The number that stands for no class in masks, inside this package."""


@dataclass(frozen=True)
class TargetOptions:
    """Options of `open_images`.

    Args:
        task: the name of the task; None where the source tells it.
        ignore_index: the number in mask files that stands for no class.
        reduce_zero_label: whether 0 in mask files stands for no class, and 1 for the first class.
        class_names: a file with the names of the classes of masks; None for the one beside them.
    """

    task: str | None = None
    ignore_index: int = VOID
    reduce_zero_label: bool = False
    class_names: str | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> TargetOptions:
        """Those in a run's config; the others have their defaults."""
        return cls(**{each.name: config[each.name] for each in fields(cls) if each.name in config})

    @property
    def flags(self) -> tuple[str, ...]:
        """The words of a command line that says the same; none where nothing was changed."""
        given = ({"task": self.task} if self.task else {}) | self.of_masks
        words = ((f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])) for name, value in given.items())
        return tuple(chain.from_iterable(words))

    @property
    def of_masks(self) -> dict[str, Any]:
        """The options that were changed and have an effect on masks alone."""
        defaults = TargetOptions()
        names = [each.name for each in fields(self) if each.name != "task"]
        return {name: getattr(self, name) for name in names if getattr(self, name) != getattr(defaults, name)}


AS_FOUND = TargetOptions()
"""As the source tells."""
