"""Synaptic diversity and saliency of transformers (DSS: Zhou et al. 2022, https://arxiv.org/abs/2203.12217)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from proxies.zero_cost.passes import BATCH_NORMS, ones_like, positive, replaced, run_network, tensors_of, weight_gradients
from proxies.zero_cost.registry import Batch, register
from space.blocks import Block


@register("dss", paper="https://arxiv.org/abs/2203.12217")
def dss(network: nn.Module, batch: Batch) -> float:
    """log of: sum over mixing weights W of ||dR/dW||_nuc ||W||_nuc, plus sum over all other weights w of |w dR/dw|.

    R is the sum of the outputs for an image of ones, all parameters positive, as in `synflow`; the nuclear norm is the sum of
    the singular values. Looks at every parameter of two dimensions or more. One forward and one backward pass over one image,
    in double precision, and singular values of all mixing weights and their gradients, which is most of the cost for a wide
    network; neither the batch's pixels nor its labels matter.

    Adapted: the paper's mixing weights are those of self-attention. In networks from `space` they are all weights of the token
    mixers, so a mixer without an attention matrix is measured like one with: linear layers as they are, a depthwise
    convolution as a matrix of its kernels. In other networks they are square matrices and those three times as high as wide,
    as queries, keys and values in one are. Attention and layer norms work as always, as in the official code; a batch norm,
    which would have no batch to normalise by, divides its input by the root of its mean square. The logarithm keeps the order.
    """
    tensors = positive(tensors_of(network))
    with replaced(network, BATCH_NORMS, _scaled_to_one):
        output = run_network(network, tensors, ones_like(batch), batch_statistics=False)
    is_from_space = any(isinstance(module, Block) for module in network.modules())
    of_mixers = _weights_of_mixers(network)
    total = 0.0
    for name, (weight, gradient) in weight_gradients(output.sum(), tensors).items():
        if name in of_mixers if is_from_space else _is_square_or_three(weight):
            total += _nuclear_norm(weight) * _nuclear_norm(gradient)
        else:
            total += float((weight * gradient).abs().sum())
    return math.log(total) if total else -math.inf


def _weights_of_mixers(network: nn.Module) -> set[str]:
    blocks = ((path, module) for path, module in network.named_modules() if isinstance(module, Block))
    return {f"{path}.mixer.{name}" for path, block in blocks for name, _ in block.mixer.named_parameters()}


def _is_square_or_three(weight: Tensor) -> bool:
    rows, columns = weight.flatten(1).shape
    return weight.ndim == 2 and rows in (columns, 3 * columns)


def _nuclear_norm(matrix: Tensor) -> float:
    # Singular values take twice as long in double precision.
    return float(torch.linalg.svdvals(matrix.flatten(1).float()).sum())


def _scaled_to_one(x: Tensor) -> Tensor:
    return x * (x.square().mean() + 1e-5).rsqrt()
