"""The weight-sharing rule: which parameters share a tensor, and which slice of it an architecture uses.

Parts of two architectures share tensors if they have the same path and the same operator, elastic options aside (`Spec.operator`).
A narrower architecture uses the leading slice of the tensor in every dimension. This suffices because the operators of `space` are
prefix-closed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from space.architecture import Architecture, Part
from space.parts import build_part, check_size
from space.search_space import Option, SearchSpace


def shared_name(part: Part, name: str) -> str:
    """Name of the shared tensor that tensor `name` of a part's module is a slice of.

    A feed-forward network's norm depends on the mixer before it, so norms have their own label too: a batch norm and a layer norm
    never share scales and shifts.
    """
    owner = [*part.path.split("."), part.spec.operator]
    if part.norm is not None and name.startswith("norm."):
        owner.append(part.norm.label)
    return "/".join([*owner, *name.split(".")])


def widest_parts(space: SearchSpace) -> tuple[Part, ...]:
    """One part for every path and operator of a space (and norm before it), in its greatest size."""
    widest: dict[tuple[str, str, str], Part] = {}
    for architecture in _covering(space):
        for part in architecture.parts:
            key = (part.path, part.spec.operator, part.norm.label if part.norm else "")
            widest[key] = _wider(widest[key], part) if key in widest else part
    return tuple(widest.values())


def shared_tensors(space: SearchSpace) -> dict[str, Tensor]:
    """All shared parameters of a space, freshly initialised from torch's global random state, by shared name.

    SpaceError where there are more than `MAX_PARAMS`.
    """
    tensors: dict[str, Tensor] = {}
    parts = widest_parts(space)
    check_size(space.name, parts)
    for part in parts:
        for name, parameter in build_part(part).named_parameters():
            tensors.setdefault(shared_name(part, name), parameter.detach())
    return tensors


def leading_slice(shared: Tensor, shape: torch.Size) -> Tensor:
    """The view of `shared` that a parameter of this shape uses."""
    return shared[tuple(slice(size) for size in shape)] if shared.shape != shape else shared


def _wider(one: Part, other: Part) -> Part:
    """The part that is as wide as either of two in every dimension."""
    options = {name: _larger(getattr(one.spec, name), getattr(other.spec, name)) for name in one.spec.elastic}
    return replace(one, spec=one.spec.replace(**options), widths=_larger(one.widths, other.widths))


def _larger(one: Any, other: Any) -> Any:
    """The larger number, or of two nested tuples the larger numbers."""
    return tuple(map(_larger, one, other)) if isinstance(one, tuple) else max(one, other)


def _covering(space: SearchSpace) -> Iterator[Architecture]:
    """Architectures of greatest width and depth that together have every option, every mixer with every ffn, every stem with every head."""
    kinds = ("mixer", "ffn", "position", "stem", "head")
    most = {kind: max((len(options) for name, options in space.slots.items() if _kind(name) == kind), default=1) for kind in kinds}
    for mixer, ffn in itertools.product(range(max(most["mixer"], most["position"])), range(most["ffn"])):
        yield space.decide(partial(_at, {"mixer": mixer, "ffn": ffn, "position": mixer}))
    for stem, head in itertools.product(range(most["stem"]), range(most["head"])):
        yield space.decide(partial(_at, {"stem": stem, "head": head}))


def _at(index: Mapping[str, int], name: str, options: tuple[Option, ...]) -> Option:
    return options[index.get(_kind(name), -1) % len(options)]


def _kind(slot: str) -> str:
    """What is chosen in a slot: `mixer` in `stage1.block2.mixer`."""
    return slot.rpartition(".")[2]
