"""Fixtures that sweep the registries, so that a new operator is under every contract on day one.

`mixer_spec`, `ffn_spec`, `position_spec`, `norm_spec`, `stem_spec` and `downsampler_spec` are all the operators of a kind with
representative option values, `head_spec` the heads that classify images, and `dense_head_spec` those that label every pixel;
`operator_spec` those of every kind that keeps a map's size.
`map_size` is height and width: square, odd, not square, smaller than windows and merged tokens, one token.
"""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import ValidationError

from space.kinds import DOWNSAMPLERS, FFNS, HEADS, MIXERS, NORMS, POSITIONS, STEMS
from space.registry import Registry, Spec
from space.taps import task_of

WIDTH = 64
"""A multiple of every head size that options take below."""

MAP_SIZES = ((16, 16), (9, 14), (3, 5), (1, 1))


def specs_of(registry: Registry) -> Iterator[Spec]:
    """Every operator with its first option values, then with each other value of one option at a time."""
    for name in registry.names():
        fields = {key: field for key, field in registry.spec(name).model_fields.items() if key != "type"}
        values = {key: [*_values(registry, name, key, field.annotation, field)] for key, field in fields.items()}
        first = {key: options[0] for key, options in values.items()}
        yield registry(name, **first)
        for key, options in values.items():
            yield from (registry(name, **first | {key: value}) for value in options[1:])


def _values(registry: Registry, name: str, key: str, annotation: Any, field: Any) -> Iterator[Any]:
    """Representative values of one option: all of a Literal, otherwise the default and others that the option accepts."""
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
        return
    default = [] if field.is_required() else [field.default]
    half = [default[0] // 2] if default and type(default[0]) is int and default[0] > 1 else []
    specs = [NORMS(norm) for norm in NORMS.names()] if default and isinstance(default[0], Spec) else []
    candidates = [*default, *half, *specs, True, False, 2, 4]
    candidates = default if default and isinstance(default[0], float) else candidates
    accepted: list[Any] = []
    for value in candidates:
        known = any(type(value) is type(one) and value == one for one in accepted)
        if not known and len(accepted) < 2 + len(specs) and _accepts(registry, name, key, value):
            accepted.append(value)
            yield value
    assert accepted, f"{name}.{key}: no representative value is known"


def _accepts(registry: Registry, name: str, key: str, value: Any) -> bool:
    try:
        registry.spec(name)(type=name, **{key: value})
    except ValidationError as error:
        return all(mistake["loc"][:1] != (key,) for mistake in error.errors())
    return True


def _heads(task: str) -> list[Spec]:
    return [spec for spec in specs_of(HEADS) if task_of(spec) == task]


SWEEPS = {
    "mixer_spec": (MIXERS,),
    "ffn_spec": (FFNS,),
    "position_spec": (POSITIONS,),
    "norm_spec": (NORMS,),
    "stem_spec": (STEMS,),
    "downsampler_spec": (DOWNSAMPLERS,),
    "operator_spec": (MIXERS, FFNS, POSITIONS, NORMS),
    "any_spec": (MIXERS, FFNS, POSITIONS, NORMS, STEMS, DOWNSAMPLERS, HEADS),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture, task in (("head_spec", "classification"), ("dense_head_spec", "segmentation")):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, _heads(task), ids=lambda spec: f"head:{spec.label}")
    for fixture, registries in SWEEPS.items():
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, [
                pytest.param(spec, id=f"{registry.kind}:{spec.label}") for registry in registries for spec in specs_of(registry)
            ])
    if "map_size" in metafunc.fixturenames:
        metafunc.parametrize("map_size", MAP_SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
