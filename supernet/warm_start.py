"""Beginning with trained weights: the shared tensors take what a trained network of the same operators has."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from space.architecture import Part
from space.network import TokenMixerNet
from supernet.network import Supernet
from supernet.slicing import leading_slice, shared_name


@dataclass(frozen=True)
class Filled:
    """What one network gave: tensors, and their share of all numbers in the supernet."""

    num_tensors: int
    share: float


@torch.no_grad()
def fill(supernet: Supernet, *networks: TokenMixerNet) -> list[Filled]:
    """Fill the shared tensors from networks; where two have one, the first gives it.

    A tensor fits where the same operator stands at the same path. Of a wider or narrower one the leading slice that both have
    is taken, as two widths of the supernet share it. A stem for other channels and a classifier for other classes are left out.
    """
    total = sum(tensor.numel() for tensor in supernet.shared.values())
    taken: set[str] = set()
    filled = []
    for network in networks:
        sources = {name: tensor for name, tensor in _tensors(supernet, network).items() if name not in taken}
        taken |= sources.keys()
        numbers = 0
        for name, source in sources.items():
            common = torch.Size(map(min, zip(source.shape, supernet.shared[name].shape, strict=True)))
            leading_slice(supernet.shared[name], common).copy_(leading_slice(source, common))
            numbers += common.numel()
        filled.append(Filled(len(sources), numbers / total))
    return filled


def _tensors(supernet: Supernet, network: TokenMixerNet) -> dict[str, Tensor]:
    """What a network has for the supernet, by shared name."""
    return {
        shared: tensor
        for part in network.architecture.parts
        for name, tensor in network.get_submodule(part.path).named_parameters()
        if (shared := shared_name(part, name)) in supernet.shared and _is_same_task(supernet, network, part, name)
    }


def _is_same_task(supernet: Supernet, network: TokenMixerNet, part: Part, name: str) -> bool:
    if part.path == "stem":
        return network.in_chans == supernet.space.in_chans
    return not name.startswith("fc.") or network.num_classes == supernet.space.num_classes
