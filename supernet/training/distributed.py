"""The processes that train one network together: torchrun starts one per GPU, all with the same command.

Each process trains on its part of every batch. After each step all have the same weights, so the first one prints and writes for all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, distributed


def num_processes() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_index() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0")) if num_processes() > 1 else 0


def is_first() -> bool:
    """Whether this process is the one that prints and writes."""
    return process_index() == 0


@cache
def own_device() -> torch.device:
    """The device that this process computes on: its GPU where the machine has one, else the CPU."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return torch.device("cpu")
    return accelerator if num_processes() == 1 else torch.device(accelerator.type, int(os.environ["LOCAL_RANK"]))


def wait_for_all() -> None:
    """Return when all processes have called this."""
    if num_processes() > 1:
        _join_group()
        distributed.barrier()


def all_reduced(value: Tensor) -> Tensor:
    """The sum of a tensor over all processes, on this process's device."""
    if num_processes() > 1:
        _join_group()
        value = value.to(own_device(), copy=True)
        distributed.all_reduce(value)
    return value


def all_gathered(rows: Tensor) -> Tensor:
    """The rows of all processes, (N, ...) each, one after the other, on this process's device."""
    if num_processes() == 1:
        return rows
    counts = torch.zeros(num_processes(), dtype=torch.int64)
    counts[process_index()] = len(rows)
    ends = all_reduced(counts).cumsum(0).tolist()
    gathered = rows.new_zeros((ends[-1], *rows.shape[1:]))
    gathered[ends[process_index()] - len(rows) : ends[process_index()]] = rows
    return all_reduced(gathered)


def average_over_processes(tensors: Sequence[Tensor]) -> None:
    """Replace floating-point tensors of one type by their means over all processes, in place."""
    if num_processes() > 1 and tensors:
        # One message: hundreds of small ones would take longer than the step.
        flat = flatten(tensors)
        _join_group()
        distributed.all_reduce(flat)
        unflatten(flat / num_processes(), tensors)


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """The numbers of some tensors of one type one after the other."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


@torch.no_grad()
def unflatten(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    """Write such numbers back into the tensors."""
    parts = flat.split([tensor.numel() for tensor in tensors])
    torch._foreach_copy_(list(tensors), [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)])


@cache
def _join_group() -> None:
    """Connect the processes; the first call in each waits until all are there."""
    device = own_device()
    if device.type != "cpu":
        torch.accelerator.set_device_index(device.index)
    distributed.init_process_group(distributed.get_default_backend_for_device(device))
