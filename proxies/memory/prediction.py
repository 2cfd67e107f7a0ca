"""What an architecture costs in the quantities that need no measurement."""

from __future__ import annotations

from collections.abc import Iterable

from proxies.macs import cost_of
from proxies.memory.inference import peak_of
from proxies.memory.training import training_memory_of
from proxies.memory_quantity import batch_of, is_memory
from space.architecture import Architecture


def predicted_costs(architecture: Architecture, quantities: Iterable[str]) -> dict[str, int]:
    """The costs of an architecture by quantity: `macs`, `params`, and those of memory, in bytes."""
    cost = cost_of(architecture)
    return {name: memory_of(architecture, name) if is_memory(name) else cost[name] for name in quantities}


def memory_of(architecture: Architecture, quantity: str, image_size: int | tuple[int, int] | None = None) -> int:
    """Bytes of `memory@act` or `memory@train:bs32`, for images of another size than the architecture's if that is given."""
    batch = batch_of(quantity)
    return peak_of(architecture, image_size) if batch is None else training_memory_of(architecture, batch, image_size)
