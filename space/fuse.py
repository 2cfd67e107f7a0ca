"""Fusing for inference: batch norms, identities, layer scales and gates are folded exactly into neighbouring layers.

A module may have a method `fused() -> nn.Module`. It is called once, on a copy in evaluation mode whose children are fused
already, and returns the module's replacement, often the module itself. A batch norm after a layer in an `nn.Sequential` is folded
without such a method. Modules without it stay unchanged.

Two attributes of an operator let its residual branch fold norm and scale into it. They name children of the fused operator:
`first_linears` are linear layers that alone take the operator's input, before any zero padding; `last_linear` is the layer whose
output the operator returns.
"""

from __future__ import annotations

import copy
import itertools
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def fuse(network: Module) -> Module:
    """A faster copy of a network, equal to it in evaluation mode. Its parameters need no gradient."""
    return _fused(copy.deepcopy(network).eval()).requires_grad_(False)


def _fused(module: Module) -> Module:
    for name, child in list(module.named_children()):
        setattr(module, name, _fused(child))
    if isinstance(module, nn.Sequential):
        _fold_norms_of(module)
    fused = getattr(module, "fused", None)
    return fused() if callable(fused) else module


def _fold_norms_of(sequence: nn.Sequential) -> None:
    for (_, layer), (name, norm) in itertools.pairwise(list(sequence.named_children())):
        if isinstance(layer, nn.Linear | nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            fold_norm_after(layer, norm)
            delattr(sequence, name)


def fold_norm_after(layer: nn.Linear | nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Fold a batch norm into the layer before it."""
    scale, shift = affine(norm)
    scale_output(layer, scale)
    _set(layer, layer.weight, shift if layer.bias is None else layer.bias + shift)


def fold_norm_before(norm: nn.BatchNorm2d, layer: nn.Linear) -> None:
    """Fold a batch norm into the linear layer after it."""
    scale, shift = affine(norm)
    offset = layer.weight.double() @ shift
    _set(layer, layer.weight * scale, offset if layer.bias is None else layer.bias + offset)


def scale_output(layer: nn.Linear | nn.Conv2d, scale: Tensor) -> None:
    """Multiply a layer's output by a scale, one number or one per channel."""
    rows = scale.double().reshape(-1, *[1] * (layer.weight.ndim - 1))
    _set(layer, layer.weight * rows, None if layer.bias is None else layer.bias * scale.double())


def merged(*layers: nn.Module) -> nn.Linear:
    """One linear layer for several with the same input, each with a bias; their outputs are concatenated."""
    linears = [layer for layer in layers if isinstance(layer, nn.Linear)]
    weight = torch.cat([layer.weight for layer in linears])
    together = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    together.weight = nn.Parameter(weight.detach())
    together.bias = nn.Parameter(torch.cat([layer.bias for layer in linears]).detach())
    return together


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """A batch norm's factor and offset in evaluation, in double precision."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def _set(layer: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor | None) -> None:
    dtype = layer.weight.dtype
    layer.weight = nn.Parameter(weight.detach().to(dtype))
    layer.bias = None if bias is None else nn.Parameter(bias.detach().to(dtype))
