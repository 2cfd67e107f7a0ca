"""Checkpoints: one safetensors file that holds tensors and, as JSON in its header, everything else.

One file cannot contradict another, and reading safetensors runs no code from the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from space.errors import UserError
from space.files import write_atomically

_FACTS = "facts"
_GROUP = "#"
"""Prefix of a parameter group's number, instead of a parameter's name."""


class CheckpointError(UserError):
    """A checkpoint that is damaged, or of another run."""


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors, and facts that JSON can hold, whole or not at all."""
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, {_FACTS: json.dumps(facts)})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_checkpoint` wrote; CheckpointError where the file is incomplete."""
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


def flatten_optimizer(optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as tensors and as plain numbers, named `<parameter>/<key>`."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in parameters.items()}
    entries = {f"{names[parameter]}/{key}": value for parameter, state in optimizer.state.items() for key, value in state.items()}
    for name, value in entries.items():
        if not isinstance(value, Tensor | bool | int | float | str | None):
            got = f"got {type(value).__name__} as {name.rpartition('/')[2]}"
            raise CheckpointError(f"{type(optimizer).__name__}: {got}, expected an optimizer whose state can be saved")
    # Some optimizers, such as timm's Lamb, count their steps in the group.
    for index, group in enumerate(optimizer.param_groups):
        entries |= {f"{_GROUP}{index}/{key}": value for key, value in group.items() if isinstance(value, Tensor | int | float)}
    tensors = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
    return tensors, {name: value for name, value in entries.items() if name not in tensors}


def restore_optimizer(optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], saved: Mapping[str, Any]) -> None:
    """Put back what `flatten_optimizer` returned, tensors and numbers together; CheckpointError where it is of other parameters."""
    names = {parameter: name for name, parameter in parameters.items()}
    groups = optimizer.state_dict()["param_groups"]
    owners = {f"{_GROUP}{index}": group for index, group in enumerate(groups)}
    state: dict[int, dict[str, Any]] = {}
    for group, plain in zip(optimizer.param_groups, groups, strict=True):
        for parameter, number in zip(group["params"], plain["params"], strict=True):
            owners[names[parameter]] = state.setdefault(number, {})
    for name, value in saved.items():
        owner, _, key = name.rpartition("/")
        if owner not in owners:
            raise CheckpointError(f"got the optimizer's state {name!r:.100}, expected states of the network's own parameters")
        owners[owner][key] = value
    optimizer.load_state_dict({"state": {number: fields for number, fields in state.items() if fields}, "param_groups": groups})
    # In a file tensors are contiguous; fused optimizers rely on the memory format of their parameters.
    for parameter, fields in optimizer.state.items():
        for key, value in fields.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                fields[key] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
