"""The processes that train one network together: torchrun starts one a GPU, all of them with the same command.

Each trains on its part of every batch. After each step they have the same weights, so one of them speaks and writes for all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed

if TYPE_CHECKING:
    from accelerate import PartialState


def num_processes() -> int:
    """How many there are, by torchrun's word."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that speaks and writes."""
    return num_processes() == 1 or this_process().is_main_process


@cache
def this_process() -> PartialState:
    """Which of them this is and where it computes; the first call waits until all are there."""
    # Imported here: it takes seconds, and few commands train.
    from accelerate import PartialState

    # Left to itself, it takes processes without a GPU for strangers.
    return PartialState(cpu=not torch.accelerator.is_available())


def wait_for_all() -> None:
    """Go on when all processes have come here."""
    if num_processes() > 1:
        this_process().wait_for_everyone()


def total(value: Tensor) -> Tensor:
    """The sum of all processes' values."""
    if num_processes() > 1:
        value = value.to(this_process().device, copy=True)
        distributed.all_reduce(value)
    return value


def average(tensors: Sequence[Tensor]) -> None:
    """Replace floating-point tensors of one kind by the means over all processes, in place."""
    if num_processes() > 1 and tensors:
        # One message: hundreds of small ones would take longer than the step.
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= num_processes()
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view(tensor.shape))
