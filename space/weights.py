"""A network's own weights, from a file."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from space.errors import SpaceError
from space.official.files import read_weights


def load_weights(network: nn.Module, path: Path) -> None:
    """Give a network the weights of a file, `.safetensors` or written by `torch.save`; no code in the file is run.

    Raises:
        SpaceError: the file cannot be read, or a tensor is missing, left over or of another shape.
    """
    found, own = read_weights(path), network.state_dict()
    for name in sorted(own.keys() | found.keys()):
        if name not in own:
            raise SpaceError(f"{path}: got the tensor {name}, which has no place there; expected the weights of this very architecture")
        if name not in found:
            raise SpaceError(f"{path}: got no tensor {name}, expected the weights of this very architecture")
        if found[name].shape != own[name].shape:
            raise SpaceError(f"{path}: {name}: got shape {tuple(found[name].shape)}, expected {tuple(own[name].shape)}")
    network.load_state_dict(found)
