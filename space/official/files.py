"""Files of official weights."""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from space.errors import SpaceError

# Averaged weights first, where a checkpoint has both: they are what gets published.
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")


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
    if all(str(key).startswith("module.") for key in content):
        return {str(key).removeprefix("module."): value for key, value in content.items()}
    return {str(key): value for key, value in content.items()}


def _safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise SpaceError(f"{path}: cannot be read as safetensors: {_one_line(error)}") from None


def _pickled(path: Path) -> object:
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
        raise SpaceError(f"{path}: cannot be read as weights: {_one_line(error)}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
