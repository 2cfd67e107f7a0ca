"""Connection sensitivity (SNIP: Lee et al. 2019, https://arxiv.org/abs/1810.02340), summed as in
https://arxiv.org/abs/2101.08134."""

from __future__ import annotations

from torch import nn

from proxies.zero_cost.passes import loss_gradients
from proxies.zero_cost.registry import Batch, register


@register("snip", paper="https://arxiv.org/abs/1810.02340")
def snip(network: nn.Module, batch: Batch) -> float:
    """sum over weights w of |w dL/dw|, L being the batch's loss: what the loss would change by, to first order, without each.

    Looks at every parameter of two dimensions or more. One forward and one backward pass.
    """
    return sum(float((weight * gradient).abs().sum()) for weight, gradient in loss_gradients(network, batch).values())
