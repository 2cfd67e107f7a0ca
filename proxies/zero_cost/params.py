"""Number of parameters: the baseline that every other score has to beat."""

from __future__ import annotations

from torch import nn

from proxies.zero_cost.registry import Batch, register


@register("params")
def params(network: nn.Module, batch: Batch) -> float:
    """All elements of all parameters. No pass."""
    return sum(parameter.numel() for parameter in network.parameters())
