"""How a search space writes its choices: lists of operators, widths and depths."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

from space.architecture import Width
from space.errors import invalid
from space.limits import MAX_BLOCKS, MAX_CHOICES, MAX_WIDTHS
from space.registry import Registry, Spec


def choices_of(registry: Registry) -> tuple[Any, ...]:
    """Pydantic metadata of distinct specs. An option that is a list stands for one spec per value; lists combine."""

    def expand(values: object) -> tuple[Spec, ...]:
        if not isinstance(values, (list, tuple)):
            raise invalid(f"got {values!r:.60}, expected a list")
        specs: list[Spec] = []
        for value in values[:MAX_CHOICES + 1]:
            if isinstance(value, Mapping):
                axes = [[(key, one) for one in (many if isinstance(many, list) else [many])] for key, many in value.items()]
                if len(specs) + math.prod(map(len, axes)) > MAX_CHOICES:
                    raise invalid(f"got more than {MAX_CHOICES} combinations of options")
                specs += [registry.parse(dict(combination)) for combination in itertools.product(*axes)]
            else:
                specs.append(registry.parse(value))
        repeated = [label for label, count in Counter(spec.label for spec in specs).items() if count > 1]
        if repeated:
            raise invalid(f"got {', '.join(sorted(repeated)):.200} twice, expected distinct choices")
        return tuple(specs)

    write = PlainSerializer(lambda specs: [spec.to_yaml() for spec in specs])
    return BeforeValidator(expand), Field(min_length=1, max_length=MAX_CHOICES), write


def one_or_several(registry: Registry, expands: bool) -> tuple[Any, ...]:
    """Pydantic metadata of one spec, or of the ones to choose from.

    Args:
        expands: whether an option that is a list stands for one spec per value, as for the choices of a stage.
    """
    several = choices_of(registry)[0].func

    def read(value: object) -> tuple[Spec, ...]:
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        return several(values if expands else [registry.parse(value) for value in values[:MAX_CHOICES + 1]])

    write = PlainSerializer(lambda specs: specs[0].to_yaml() if len(specs) == 1 else [spec.to_yaml() for spec in specs])
    return BeforeValidator(read), Field(min_length=1, max_length=MAX_CHOICES), write


def _ascending(values: object) -> object:
    if not isinstance(values, (list, tuple)):
        return values
    if all(isinstance(value, int) for value in values) and list(values) != sorted(set(values)):
        raise invalid(f"got {list(values)!s:.100}, expected distinct values in ascending order")
    return tuple(values)


Widths = Annotated[tuple[Width, ...], BeforeValidator(_ascending), Field(min_length=1, max_length=MAX_WIDTHS)]
Depths = Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_BLOCKS)], ...], BeforeValidator(_ascending), Field(min_length=1)]
