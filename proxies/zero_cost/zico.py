"""Inverse coefficient of variation on gradients (ZiCo: Li et al. 2023, https://arxiv.org/abs/2301.11300)."""

from __future__ import annotations

import torch
from torch import nn

from proxies.zero_cost.passes import loss_gradients
from proxies.zero_cost.registry import Batch, register


@register("zico", paper="https://arxiv.org/abs/2301.11300", min_batch=2)
def zico(network: nn.Module, batch: Batch) -> float:
    """sum over weight tensors W of log sum over w in W of mean |dL/dw| / std dL/dw, both over minibatches.

    Great where gradients are large and agree. Looks at every parameter of two dimensions or more. The minibatches are the
    batch's halves: two forward and two backward passes over half of the images each.

    As in the official code, weights whose gradient does not vary, and tensors without any other, are left out.
    """
    first, second = (loss_gradients(network, half) for half in batch.parts(2))
    total = 0.0
    for name in first:
        a, b = first[name][1], second[name][1]
        # Of two numbers the mean is half of their sum, and the standard deviation half of their difference.
        stability = torch.where(a == b, 0, (a.abs() + b.abs()) / (a - b).abs()).sum()
        total += float(stability.log()) if stability else 0.0
    return total
