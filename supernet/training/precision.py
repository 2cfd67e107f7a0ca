"""The arithmetic of a training where nobody says which: the device alone decides, so that the same seed gives the same weights."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]


def precision_of(device: torch.device) -> Precision:
    """bf16 on a GPU with units for it, else fp32.

    On a CPU only a measurement could tell which one is faster. Where it is close, that comes out differently from time to time, and a
    training that is killed and continued would end otherwise than one that is not.
    """
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
