"""Whether arithmetic in bf16 pays: measured, since a processor without bf16 units is slower with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]

_ROUNDS = 3
_GAIN = 1.2
"""Less of a gain than this is not worth the precision, nor sure to be one."""
_HOPELESS = 2.0
"""A first step in bf16 that takes so many times as long as one in fp32 settles it."""


def choose_precision(step: Callable[[Precision], None], device: torch.device) -> Precision:
    """bf16 where training steps are clearly faster with it, else fp32. On a CPU, other programs do not count.

    Args:
        step: does all that a training step does but for the update of the weights; called up to eight times.
        device: on a GPU its bf16 units decide without a measurement.
    """
    if device.type != "cpu":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # The first step of each also allocates and compiles.
    _seconds(step, "fp32")
    if _seconds(step, "bf16") > _HOPELESS * (fp32 := _seconds(step, "fp32")):
        return "fp32"
    rounds = [(_seconds(step, "fp32"), _seconds(step, "bf16")) for _ in range(_ROUNDS - 1)]
    return "bf16" if _GAIN * min(bf16 for _, bf16 in rounds) < min(fp32, *(seconds for seconds, _ in rounds)) else "fp32"


def _seconds(step: Callable[[Precision], None], precision: Precision) -> float:
    start = time.process_time()
    step(precision)
    return time.process_time() - start
