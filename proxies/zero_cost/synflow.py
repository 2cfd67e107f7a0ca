"""Synaptic flow (Tanaka et al. 2020, https://arxiv.org/abs/2006.05467), summed as in https://arxiv.org/abs/2101.08134."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from proxies.zero_cost.passes import NORM_LAYERS, ones_like, positive, replaced, run_network, tensors_of, weight_gradients
from proxies.zero_cost.registry import Batch, register

LOGITS: dict[Any, int] = {
    F.scaled_dot_product_attention: 2,
    F.multi_head_attention_forward: 2,
    F.softmax: 1,
    torch.softmax: 1,
    Tensor.softmax: 1,
}
"""Functions, and how many of their leading arguments make the logits: queries and keys, or the logits themselves."""


@register("synflow", paper="https://arxiv.org/abs/2006.05467")
def synflow(network: nn.Module, batch: Batch) -> float:
    """log of the sum over weights w of w dR/dw, where R is the sum of the outputs for an image of ones, all parameters positive.

    Looks at every parameter of two dimensions or more. One forward and one backward pass over one image, in double precision;
    neither the batch's pixels nor its labels matter.

    Adapted: norms of every kind return what they are given, as in the second paper, since a norm undoes the scale of the
    weights before it, and that scale is what is summed. Softmax is even, so attention returns the mean of the values: without
    norms its logits are so large that what flows through queries and keys would be rounding errors. The logarithm keeps the
    order of values that span a hundred decades.
    """
    tensors = positive(tensors_of(network))
    with replaced(network, NORM_LAYERS, lambda x: x), _EvenAttention():
        output = run_network(network, tensors, ones_like(batch), batch_statistics=False)
    flows = [(weight * gradient).sum() for weight, gradient in weight_gradients(output.sum(), tensors).values()]
    return float(torch.stack(flows).sum().log())


class _EvenAttention(TorchFunctionMode):
    """Every softmax, and every attention, gets zeros for logits."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        count = LOGITS.get(func, 0)
        return func(*map(torch.zeros_like, args[:count]), *args[count:], **(kwargs or {}))
