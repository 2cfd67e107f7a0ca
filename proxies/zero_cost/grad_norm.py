"""Norm of the loss's gradient (Abdelfattah et al. 2021, https://arxiv.org/abs/2101.08134)."""

from __future__ import annotations

from torch import nn

from proxies.zero_cost.passes import loss_gradients
from proxies.zero_cost.registry import Batch, register


@register("grad_norm", paper="https://arxiv.org/abs/2101.08134")
def grad_norm(network: nn.Module, batch: Batch) -> float:
    """sum over weights W of ||dL/dW||_2, L being the batch's loss.

    Looks at every parameter of two dimensions or more. One forward and one backward pass.
    """
    return sum(float(gradient.norm()) for _, gradient in loss_gradients(network, batch).values())
