"""Checkpoints: one safetensors file that holds tensors and, as JSON in its header, everything else.

One file cannot disagree with itself, and reading it runs no code of whoever wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from space.errors import UserError
from space.files import write_atomically

_FACTS = "facts"
_GROUP = "#"
"""Stands before a parameter group's number, where a parameter's name would."""


class CheckpointError(UserError):
    """A checkpoint that is damaged, or that another run made."""


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and facts that JSON can hold; the file is the old one or the new one, never a part of it."""
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, {_FACTS: json.dumps(facts)})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_checkpoint` wrote; CheckpointError where the file is not whole."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[_FACTS])
            if not isinstance(facts, dict):
                raise TypeError
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise CheckpointError(f"{path}: the checkpoint cannot be read: {error.strerror or error}") from None
    except (SafetensorError, KeyError, ValueError, TypeError, RecursionError):
        raise CheckpointError(f"{path}: the checkpoint is damaged; delete it and run again, which starts this part over") from None
    return tensors, facts


def flatten_optimizer(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as tensors and as plain numbers, named `<parameter>/<state>`.

    Args:
        names: names of the parameters by their `id`.
    """
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            name = f"{names[id(parameter)]}/{key}"
            if isinstance(value, Tensor):
                tensors[name] = value
            elif value is None or isinstance(value, bool | int | float | str):
                numbers[name] = value
            else:
                kind = type(value).__name__
                raise CheckpointError(f"{type(optimizer).__name__}: got {kind} as {key}, expected an optimizer whose state can be saved")
    # Some optimisers, such as timm's Lamb, count their steps in the group.
    for index, group in enumerate(optimizer.param_groups):
        for key, value in group.items():
            if isinstance(value, Tensor):
                tensors[f"{_GROUP}{index}/{key}"] = value
            elif isinstance(value, int | float):
                numbers[f"{_GROUP}{index}/{key}"] = value
    return tensors, numbers


def restore_optimizer(optimizer: torch.optim.Optimizer, names: Mapping[int, str], saved: Mapping[str, Any]) -> None:
    """Put back what `flatten_optimizer` took, tensors and numbers together; CheckpointError where it is of other parameters."""
    groups = optimizer.state_dict()["param_groups"]
    places = {f"{_GROUP}{index}": group for index, group in enumerate(groups)}
    state: dict[int, dict[str, Any]] = {}
    for group, plain in zip(optimizer.param_groups, groups, strict=True):
        for parameter, number in zip(group["params"], plain["params"], strict=True):
            places[names[id(parameter)]] = state.setdefault(number, {})
    for name, value in saved.items():
        place, _, key = name.rpartition("/")
        if place not in places:
            raise CheckpointError(f"checkpoint: got the optimizer's state {name!r:.100}, expected that of parameters that there are")
        places[place][key] = value
    optimizer.load_state_dict({"state": {number: fields for number, fields in state.items() if fields}, "param_groups": groups})
    # In a file tensors lie row by row; fused optimizers take for granted that they lie as their parameters do.
    for parameter, fields in optimizer.state.items():
        for key, value in fields.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                fields[key] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
