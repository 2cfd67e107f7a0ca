"""Files of official weights."""

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
from torch import Tensor

from space.errors import SpaceError, one_line

# Averaged weights first, where a checkpoint has both: they are what gets published.
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")

MOST_UNFOLDED = 2
"""How many times as large as its file a checkpoint's tensors may be: some share their numbers."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a `.safetensors` file or from one that `torch.save` wrote, without running any code in it.

    A checkpoint's wrapping and `DataParallel`'s prefix are taken off. SpaceError where the file cannot be read, holds
    anything but plain data, or holds no state dict.
    """
    if not path.is_file():
        raise SpaceError(f"{path}: got no file, expected one of weights: .safetensors, .pth")
    content = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise SpaceError(f"{path}: got no tensors by name, expected a state dict, or one under {', '.join(WRAPPERS)}")
    tensors = [value for value in content.values() if isinstance(value, Tensor)]
    if not all(tensor.layout == torch.strided and tensor.device.type == "cpu" for tensor in tensors):
        raise SpaceError(f"{path}: got tensors that are sparse or hold nothing, expected plain ones")
    # A view may show one number a million million times; whoever copies it then fills the memory.
    got, expected = sum(tensor.numel() * tensor.element_size() for tensor in tensors), MOST_UNFOLDED * path.stat().st_size
    if got > expected:
        raise SpaceError(f"{path}: got tensors of {got:.3g} bytes, expected at most {expected:.3g} in a file of this size")
    if all(str(key).startswith("module.") for key in content):
        return {str(key).removeprefix("module."): value for key, value in content.items()}
    return {str(key): value for key, value in content.items()}


def _safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise SpaceError(f"{path}: cannot be read as safetensors: {one_line(error) or type(error).__name__}") from None


def _pickled(path: Path) -> object:
    _check_packing(path)
    try:
        # The training scripts of all five keep their command line, a plain bag of values, beside the weights.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            # It warns of old formats, which it then reads or refuses.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # Whatever a broken or hostile file makes the unpickler raise: its kinds are not documented.
        plain = "expected a file of nothing but tensors and plain values"
        if refused := re.search(r"GLOBAL (\S+)", str(error)):
            raise SpaceError(f"{path}: got a pickle that calls for {refused[1]}, {plain}") from None
        if isinstance(error, pickle.UnpicklingError):
            # The message of torch would advise to run the file's code.
            raise SpaceError(f"{path}: got a damaged pickle, or one that holds code, {plain}") from None
        raise SpaceError(f"{path}: cannot be read as weights: {one_line(error) or type(error).__name__}") from None


def _check_packing(path: Path) -> None:
    """torch stores its files unpacked, and unpacks what others have packed, however large it is."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        # No archive, or a broken one: torch tells which.
        return
    if unpacked > MOST_UNFOLDED * path.stat().st_size:
        raise SpaceError(f"{path}: got a packed file of {unpacked:.3g} bytes, expected one as torch.save writes it")
