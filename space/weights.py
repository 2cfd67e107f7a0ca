"""A network's own weights, from a file."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from space.errors import SpaceError
from space.official.files import read_weights

HEAD = "head.fc."


def load_weights(network: nn.Module, path: Path, *, other_classes: bool = False) -> list[str]:
    """Give a network the weights of a file, `.safetensors` or written by `torch.save`; no code in the file is run.

    Args:
        other_classes: a head of another number of classes is passed over.

    Returns:
        The names of what was passed over.

    Raises:
        SpaceError: the file cannot be read, or a tensor is missing, left over, of another shape or another kind of number.
    """
    found, own = read_weights(path), network.state_dict()
    passed = [name for name in own.keys() & found.keys() if name.startswith(HEAD) and found[name].shape != own[name].shape]
    passed = sorted(passed) if other_classes else []
    for name in sorted((own.keys() | found.keys()) - set(passed)):
        if name not in own:
            raise SpaceError(f"{path}: got the tensor {name}, which has no place there; expected the weights of this very architecture")
        if name not in found:
            raise SpaceError(f"{path}: got no tensor {name}, expected the weights of this very architecture")
        if found[name].shape != own[name].shape:
            raise SpaceError(f"{path}: {name}: got shape {tuple(found[name].shape)}, expected {tuple(own[name].shape)}")
        if found[name].is_floating_point() != own[name].is_floating_point():
            raise SpaceError(f"{path}: {name}: got numbers of type {found[name].dtype}, expected {own[name].dtype} or similar")
    network.load_state_dict({name: tensor for name, tensor in found.items() if name not in passed}, strict=False)
    return passed
