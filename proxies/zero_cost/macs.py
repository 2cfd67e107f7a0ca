"""Multiply-adds: the other baseline. AZ-NAS's fourth part, its complexity, is this score."""

from __future__ import annotations

from torch import nn

from proxies.reference import count_network
from proxies.zero_cost.passes import evaluating
from proxies.zero_cost.registry import Batch, ScoreError, register


@register("macs")
def macs(network: nn.Module, batch: Batch) -> float:
    """Multiply-adds for one image of the batch's size, fused attention included; an operator without a rule is an error.

    One traced pass over one image.
    """
    if next(network.parameters(), None) is None:
        raise ScoreError("macs: got a network without parameters, expected some")
    _, channels, height, width = batch.images.shape
    with evaluating(network):
        return count_network(network, (height, width), channels).macs
