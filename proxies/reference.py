"""Multiply-adds of a built network as fvcore counts them: an independent check of `proxies.macs`.

fvcore alone misses fused attention and counts norms and pooling; both are set right here, so the two agree exactly.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import nn

from proxies.cost import Cost
from proxies.macs import UncountedOpError

_FREE = frozenset({
    "abs", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "add", "add_", "amax", "amin", "avg_pool2d", "batch_norm", "clamp", "div", "div_",
    "exp", "expand_as", "gelu", "group_norm", "hardsigmoid", "hardswish", "hardtanh", "hardtanh_", "im2col", "index_select",
    "instance_norm", "layer_norm", "leaky_relu", "log", "max", "max_pool2d", "maximum", "mean", "minimum", "mul", "mul_", "neg", "pad",
    "pow", "relu", "relu_", "relu6", "roll", "rsqrt", "rsub", "sigmoid", "silu", "silu_", "softmax", "softplus", "sqrt", "stack", "sub",
    "sum", "tanh", "feature_dropout", "type_as", "unbind", "unflatten", "upsample_bilinear2d", "upsample_nearest2d", "var", "view_as",
})
"""Operators without a matrix product: elementwise ones, softmax, norms, pooling, sums, views. They count nothing here."""


def count_network(network: nn.Module, image_size: int | tuple[int, int], in_chans: int = 3) -> Cost:
    """Run one image through a network in evaluation mode and count with fvcore.

    Args:
        image_size: side, or height and width, of the image.

    Raises UncountedOpError where the network calls an operator that neither fvcore nor this file knows.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    parameter = next(network.parameters())
    image = torch.zeros(1, in_chans, height, width, device=parameter.device, dtype=parameter.dtype)
    was_training = network.training
    network.eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # fvcore uses torch.jit, which is deprecated and says so when imported and at every trace.
            warnings.simplefilter("ignore")
            # Here: plans name the scores, and count nothing by this.
            from fvcore.nn import FlopCountAnalysis

            analysis = FlopCountAnalysis(network, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            analysis.set_op_handle("aten::scaled_dot_product_attention", _attention)
            # Ignoring them would not do: fvcore asks its own rules, such as that for norms, first.
            analysis.set_op_handle(**{f"aten::{name}": lambda inputs, outputs: 0 for name in _FREE})
            macs, unknown = int(analysis.total()), sorted(analysis.unsupported_ops())
    finally:
        network.train(was_training)
    if unknown:
        raise UncountedOpError(
            f"network: got the operators {', '.join(unknown)}, whose multiply-adds are unknown; "
            "expected ones that proxies/reference.py has a rule for")
    return Cost(macs, sum(parameter.numel() for parameter in network.parameters()))


def _attention(inputs: list[Any], outputs: list[Any]) -> int:
    """Both products of one attention, from the traced shapes of queries, keys and values."""
    q, k, v = (value.type().sizes() for value in inputs[:3])
    return math.prod(q[:-1]) * k[-2] * (q[-1] + v[-1])
