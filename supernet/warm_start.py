"""Initial weights from trained networks: shared tensors are filled where a network has the same operator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from space.architecture import Part
from space.errors import SpaceError, one_line
from space.files import load_architecture
from space.network import TokenMixerNet, build_network
from space.official import load_official
from space.weights import read_weights
from supernet.network import Supernet
from supernet.sharing import leading_slice, shared_name


def warm_start(supernet: Supernet, sources: Sequence[str]) -> list[str]:
    """Fill a supernet; a line for each source that says how much it filled.

    Args:
        sources: `NAME=FILE`, a published network's name or an architecture's file, and its weights: official, or as
            `nas.convert` writes them.
    """
    return [
        f"{source}: filled {filled.num_tensors} shared tensors, {filled.share:.1%} of the supernet's parameters"
        for source, filled in zip(sources, fill(supernet, *load_networks(sources)), strict=True)
    ]


def load_networks(sources: Sequence[str]) -> list[TokenMixerNet]:
    """The networks of the sources, with their weights; SpaceError where one cannot be read."""
    return [_load_network(*source.split("=", 1)) for source in sources]


class Filled(NamedTuple):
    """What was filled from one network: tensors, and their share of the supernet's parameters."""

    num_tensors: int
    share: float


@torch.no_grad()
def fill(supernet: Supernet, *networks: TokenMixerNet) -> list[Filled]:
    """Fill the shared tensors from networks; where two networks have a tensor, the first one's is taken.

    A tensor fits where path and operator are the same. From a wider or narrower one the common leading slice is taken, which two
    widths of a supernet share as well. A stem for other channels and a classifier for other classes are left out.
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
    """A network's tensors that fit, by shared name."""
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


def _load_network(name: str, file: str) -> TokenMixerNet:
    network = build_network(load_architecture(name))
    weights = read_weights(Path(file))
    try:
        if weights.keys() == network.state_dict().keys():
            network.load_state_dict(weights)
        else:
            load_official(network, weights)
    except SpaceError as error:
        raise SpaceError(f"{file}: {error}") from None
    except RuntimeError as error:
        raise SpaceError(f"{file}: got weights of other shapes than {name}'s ({one_line(error):.100})") from None
    return network
