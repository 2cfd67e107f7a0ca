"""The weight-sharing rule: which parameters share a tensor, and which slice of it an architecture uses.

Parts of two architectures share tensors if they have the same path and the same operator, elastic options aside (`Spec.operator`).
A narrower architecture uses the leading slice of the tensor in every dimension. This suffices because the operators of `space` are
prefix-closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

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
            if key not in widest or _elastic_size(part) > _elastic_size(widest[key]):
                widest[key] = part
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


def _elastic_size(part: Part) -> tuple[int, ...]:
    return (*part.widths, *(getattr(part.spec, option) for option in sorted(part.spec.elastic)))


def _covering(space: SearchSpace) -> Iterator[Architecture]:
    """Architectures of greatest width and depth that together have every option, and every mixer with every ffn."""
    most = {kind: max(len(o) for n, o in space.slots.items() if n.endswith(kind)) for kind in (".mixer", ".ffn", ".position")}
    for mixer in range(max(most[".mixer"], most[".position"])):
        for ffn in range(most[".ffn"]):
            yield space.decide(partial(_at, {"mixer": mixer, "ffn": ffn, "position": mixer}))


def _at(index: Mapping[str, int], name: str, options: tuple[Option, ...]) -> Option:
    return options[index.get(name.rpartition(".")[2], -1) % len(options)]
