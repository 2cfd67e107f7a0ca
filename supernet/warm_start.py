"""Initial weights from trained networks: shared tensors are inherited where a network has the same operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from space.architecture import Architecture, Part
from space.errors import SpaceError
from space.network import TokenMixerNet
from space.search_space import SearchSpace
from supernet.network import Supernet
from supernet.sharing import leading_slice, shared_name


@dataclass(frozen=True)
class Inherited:
    """What was inherited from one network.

    Args:
        architecture: the network's.
        slices: the shapes of the leading slices that it filled, by shared name.
        of_others: names of tensors that would have fitted, too, but are an earlier network's.
    """

    architecture: Architecture
    slices: Mapping[str, torch.Size]
    of_others: frozenset[str]

    @property
    def num_params(self) -> int:
        """Of the slices."""
        return sum(shape.numel() for shape in self.slices.values())


@torch.no_grad()
def inherit(shared: Mapping[str, Tensor], in_chans: int, num_classes: int, networks: Sequence[TokenMixerNet]) -> list[Inherited]:
    """Fill shared tensors from networks.

    A tensor fits where path and operator are the same. From a wider or narrower one the common leading slice is taken, which two widths
    of a supernet share as well. A stem for other channels and a classifier for other classes are left out. Where two networks have a
    tensor, all of it is the first one's: a slice of one network inside another's would be neither's. Networks that share an operator
    therefore cannot both keep their outputs; the order decides.

    Args:
        shared: by shared name; changed in place.
        in_chans, num_classes: of the images.
    """
    taken: set[str] = set()
    found = []
    for network in networks:
        fitting = {name: tensor for name, tensor in _tensors(network, in_chans, num_classes) if name in shared}
        of_others = frozenset(fitting.keys() & taken)
        slices = {}
        for name in fitting.keys() - of_others:
            slices[name] = torch.Size(map(min, zip(fitting[name].shape, shared[name].shape, strict=True)))
            leading_slice(shared[name], slices[name]).copy_(leading_slice(fitting[name], slices[name]))
        taken |= slices.keys()
        found.append(Inherited(network.architecture, {name: slices[name] for name in fitting if name in slices}, of_others))
    return found


def warm_start(supernet: Supernet, networks: Sequence[TokenMixerNet]) -> list[Inherited]:
    """Let a supernet begin as its parents: `inherit` for its shared tensors.

    A network that is a member of the space, and all of whose tensors were filled, gives its own outputs as a path with its batch norm
    statistics, up to a classifier for other classes: no other initial weight takes part in that path.
    """
    space = supernet.space
    return inherit(dict(supernet.shared.items()), space.in_chans, space.num_classes, networks)


@torch.no_grad()
def inherit_network(network: TokenMixerNet, other: TokenMixerNet) -> Inherited:
    """`inherit` for a single network, which takes over the statistics of batch norms, too."""
    parts = network.architecture.parts
    own = {shared_name(part, name): tensor for part in parts for name, tensor in network.get_submodule(part.path).named_parameters()}
    (inherited,) = inherit(own, network.in_chans, network.num_classes, [other])
    statistics = {
        shared_name(part, name): tensor
        for part in other.architecture.parts
        for name, tensor in other.get_submodule(part.path).named_buffers()
    }
    for part in parts:
        for name, tensor in network.get_submodule(part.path).named_buffers():
            source = statistics.get(shared_name(part, name))
            if source is not None:
                common = torch.Size(map(min, zip(source.shape, tensor.shape, strict=True)))
                leading_slice(tensor, common).copy_(leading_slice(source, common))
    return inherited


def report(space: SearchSpace, shared: Mapping[str, Tensor], inherited: Sequence[Inherited]) -> Iterator[str]:
    """Lines on what was inherited: from each network and whether it keeps its outputs, then by stage."""
    total = sum(tensor.numel() for tensor in shared.values())
    for one in inherited:
        share = f"{len(one.slices)} shared tensors, {one.num_params / total:.1%} of the supernet's parameters"
        yield f"{one.architecture.name}: filled {share}; {_exactness(space, one)}"
    filled = {name for one in inherited for name in one.slices}
    of_stages, of_filled = Counter(map(_stage, shared)), Counter(map(_stage, filled))
    counts = ", ".join(f"{stage} {of_filled[stage]} of {number}" for stage, number in sorted(of_stages.items(), key=_place))
    yield f"inherited tensors by stage: {counts}"


def _exactness(space: SearchSpace, inherited: Inherited) -> str:
    others = f"{len(inherited.of_others)} more are those of a network named before it; " if inherited.of_others else ""
    return others + _kept(space, inherited)


def _kept(space: SearchSpace, inherited: Inherited) -> str:
    """What a network's own path keeps of it, in words."""
    architecture = inherited.architecture
    try:
        like_space = architecture.replace(image_size=space.image_size, in_chans=space.in_chans, num_classes=space.num_classes)
    except SpaceError:
        return "it cannot run at the space's image size"
    if not space.contains(like_space):
        return "it is no member of the space, so operators were inherited one by one"
    if inherited.of_others:
        return "so its own path does not keep its outputs"
    if architecture.in_chans != space.in_chans:
        return "its stem is for other images, so its own path does not keep its outputs"
    if architecture.num_classes != space.num_classes:
        return f"its own path keeps its features; its classifier, of {architecture.num_classes} classes, begins at random"
    return "its own path keeps its outputs"


def _stage(name: str) -> str:
    """Of a shared tensor: `stem`, `stage 1`, ..., `head`."""
    first, second, *_ = name.split("/")
    return f"stage {int(second) + 1}" if first == "stages" else first


def _place(stage: tuple[str, int]) -> tuple[int, str]:
    """Orders stages as an image passes them."""
    name, _ = stage
    return {"stem": 0, "head": 2}.get(name, 1), name


def _tensors(network: TokenMixerNet, in_chans: int, num_classes: int) -> Iterator[tuple[str, Tensor]]:
    """A network's parameters by shared name, without those for other images or classes."""
    for part in network.architecture.parts:
        for name, tensor in network.get_submodule(part.path).named_parameters():
            if _is_for(network, in_chans, num_classes, part, name):
                yield shared_name(part, name), tensor


def _is_for(network: TokenMixerNet, in_chans: int, num_classes: int, part: Part, name: str) -> bool:
    if part.path == "stem":
        return network.in_chans == in_chans
    return not name.startswith(("fc.", "aux.")) or network.num_classes == num_classes
