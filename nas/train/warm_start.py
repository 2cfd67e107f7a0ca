"""`--warm-start davit-t=weights.safetensors`: a supernet that begins with the published networks' weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from space.errors import SpaceError, one_line
from space.files import load_architecture
from space.network import TokenMixerNet, build_network
from space.official import load_official
from space.official.files import read_weights
from supernet.network import Supernet
from supernet.warm_start import fill


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
