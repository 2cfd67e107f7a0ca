"""When memory is counted: in an inference, `act`, or in a training step, `train:bs32`. And how people write amounts of it."""

from __future__ import annotations

import re
from decimal import Decimal

MEMORY = "memory"
ACTIVATIONS = f"{MEMORY}@act"
"""The quantity of an inference's peak, in bytes."""
BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
"""By unit in capitals."""
EXPECTED = "act, one inference, or train:bs32, a training step of 32 images"
_WRITTEN = ("GiB", "MiB", "KiB", "GB", "MB", "KB", "B")
_TRAINING = re.compile(rf"{MEMORY}@train:bs(?P<batch>[1-9]\d{{0,4}})", re.ASCII)


def memory_quantity(moment: str) -> str | None:
    """The quantity of a moment, `act` or `train:bs32`; None where it is neither."""
    quantity = f"{MEMORY}@{moment.lower()}"
    return quantity if is_memory(quantity) else None


def is_memory(quantity: str) -> bool:
    """Whether a quantity is one of memory."""
    return quantity == ACTIVATIONS or batch_of(quantity) is not None


def batch_of(quantity: str) -> int | None:
    """Images of a training step; None for a quantity that is not its memory."""
    match = _TRAINING.fullmatch(quantity)
    return int(match["batch"]) if match else None


def moment_of(quantity: str) -> str:
    """`act` or `train:bs32`, the moment of a quantity."""
    return quantity.partition("@")[2]


def format_memory(amount: int, quantity: str) -> str:
    """Write an amount exactly, in the unit that is shortest: `64MiB@act`, `100MB@act`."""
    written = [f"{_decimal(Decimal(amount) / BYTES[unit.upper()])}{unit}" for unit in _WRITTEN]
    return f"{min(written, key=len)}@{moment_of(quantity)}"


def _decimal(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
