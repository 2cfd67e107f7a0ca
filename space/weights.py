"""Files of weights: state dicts of ours, of official codes and of training frameworks."""

from __future__ import annotations

import argparse
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from space.errors import SpaceError, one_line

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "net")
"""Keys of checkpoints that hold a state dict; averaged weights first: they are what gets published."""
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "net.")
"""What `DataParallel`, `torch.compile`, Lightning and detection frameworks put before all names."""
MAX_EXPANSION = 2
"""How many times as large as its file a checkpoint's tensors may be: tensors may share memory."""
HEAD = "head.fc."


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a `.safetensors` file or from one that `torch.save` wrote, without running any code in it.

    The state dict may lie under one of WRAPPERS and its names may have PREFIXES, which are removed. SpaceError where the file
    cannot be read, holds anything but plain data, or holds no state dict.
    """
    if not path.is_file():
        raise SpaceError(f"{path}: got no file, expected one of weights: .safetensors, .pth")
    content = _unwrapped(_safetensors(path) if path.suffix == ".safetensors" else _pickled(path))
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise SpaceError(f"{path}: got no tensors by name, expected a state dict, or one under {', '.join(WRAPPERS)}")
    tensors = [value for value in content.values() if isinstance(value, Tensor)]
    if not all(tensor.layout == torch.strided and tensor.device.type == "cpu" for tensor in tensors):
        raise SpaceError(f"{path}: got tensors that are sparse or have no data, expected plain ones")
    # A view may repeat one number a million million times; a copy of it would fill the memory.
    got, expected = sum(tensor.numel() * tensor.element_size() for tensor in tensors), MAX_EXPANSION * path.stat().st_size
    if got > expected:
        raise SpaceError(f"{path}: got tensors of {got:.3g} bytes, expected at most {expected:.3g} in a file of this size")
    return _without_prefixes({str(key): value for key, value in content.items()})


def load_weights(network: nn.Module, path: Path, *, other_classes: bool = False) -> list[str]:
    """Give a network the weights of a file, `.safetensors` or written by `torch.save`; no code in the file is run.

    Args:
        other_classes: ignore a classifier of another number of classes.

    Returns:
        The names of the tensors that were ignored.

    Raises:
        SpaceError: the file cannot be read, or a tensor is missing, left over, of another shape or another kind of number.
    """
    found, own = read_weights(path), network.state_dict()
    shared = own.keys() & found.keys() if other_classes else set()
    ignored = sorted(name for name in shared if name.startswith(HEAD) and found[name].shape != own[name].shape)
    for name in sorted((own.keys() | found.keys()) - set(ignored)):
        if name not in own:
            raise SpaceError(f"{path}: got the tensor {name}, expected the weights of this very architecture")
        if name not in found:
            raise SpaceError(f"{path}: got no tensor {name}, expected the weights of this very architecture")
        if found[name].shape != own[name].shape:
            raise SpaceError(f"{path}: {name}: got shape {tuple(found[name].shape)}, expected {tuple(own[name].shape)}")
        if found[name].is_floating_point() != own[name].is_floating_point():
            raise SpaceError(f"{path}: {name}: got numbers of type {found[name].dtype}, expected {own[name].dtype} or similar")
    network.load_state_dict({name: tensor for name, tensor in found.items() if name not in ignored}, strict=False)
    return ignored


def _unwrapped(content: object) -> object:
    for _ in WRAPPERS:
        if not isinstance(content, Mapping):
            break
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    return content


def _without_prefixes(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    while prefix := next((prefix for prefix in PREFIXES if all(key.startswith(prefix) for key in weights)), None):
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights


def _safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise SpaceError(f"{path}: cannot be read as safetensors: {one_line(error) or type(error).__name__}") from None


def _pickled(path: Path) -> object:
    _check_compression(path)
    try:
        # The training scripts of all five papers store their command line, an argparse.Namespace, with the weights.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            # It warns of old formats, then reads or refuses them.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # What the unpickler raises for a broken or hostile file is not documented.
        plain = "expected a file of nothing but tensors and plain values"
        if refused := re.search(r"GLOBAL (\S+)", str(error)):
            raise SpaceError(f"{path}: got a pickle that calls for {refused[1]}, {plain}") from None
        if isinstance(error, pickle.UnpicklingError):
            # torch's message would advise to run the file's code.
            raise SpaceError(f"{path}: got a damaged pickle, or one that holds code, {plain}") from None
        raise SpaceError(f"{path}: cannot be read as weights: {one_line(error) or type(error).__name__}") from None


def _check_compression(path: Path) -> None:
    """Refuse compressed archives: torch writes none, and would decompress one of any size."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        # Not an archive, or a broken one: torch says which.
        return
    if size > MAX_EXPANSION * path.stat().st_size:
        raise SpaceError(f"{path}: got a compressed file of {size:.3g} bytes, expected one as torch.save writes it")
