"""How differently a network's rectifiers see the images of a batch (NASWOT: Mellor et al. 2021, https://arxiv.org/abs/2006.04647)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from proxies.zero_cost.passes import run_network, tensors_of
from proxies.zero_cost.registry import Batch, ScoreError, register

aten = torch.ops.aten

RECTIFIERS = frozenset({
    aten.relu, aten.relu_, aten.hardtanh, aten.hardtanh_, aten.leaky_relu, aten.leaky_relu_, aten._prelu_kernel, aten.elu, aten.elu_,
    aten.gelu, aten.gelu_, aten.silu, aten.silu_, aten.hardswish, aten.hardswish_, aten.mish, aten.mish_,
})
"""Activations that pass what is positive and hold back what is not; ReLU6 is a `hardtanh`."""


@register("naswot", paper="https://arxiv.org/abs/2006.04647", min_batch=2)
def naswot(network: nn.Module, batch: Batch) -> float:
    """log |det K|, where K_ij is the number of units that images i and j turn on or off alike.

    Looks at every rectifier that is called, as a module or as a function: a unit is an element of its input. One forward pass;
    labels do not matter.

    Adapted: smooth activations such as GELU have no linear regions, so a unit counts as on where its pre-activation is positive.
    Attention adds no units of its own.
    """
    agreements, _ = _agreements(network, batch)
    return float(torch.linalg.slogdet(agreements).logabsdet)


@register("naswot_normalised", paper="https://arxiv.org/abs/2006.04647", min_batch=2)
def naswot_normalised(network: nn.Module, batch: Batch) -> float:
    """log |det K / N|, where N is the number of units: `naswot` less B log N, so that size alone gains nothing."""
    agreements, units = _agreements(network, batch)
    return float(torch.linalg.slogdet(agreements).logabsdet) - len(batch.images) * math.log(units)


def _agreements(network: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """K, (B, B) in double precision, and N."""
    codes = _Codes(len(batch.images))
    with torch.no_grad(), codes:
        run_network(network, tensors_of(network), batch.images)
    if not codes.units:
        raise ScoreError("naswot: got a network that calls no rectifier, expected ReLU, GELU or the like")
    # Two codes of +1 and -1 that agree in a places of n have the product 2a - n.
    return (codes.products + codes.units) / 2, codes.units


class _Codes(TorchDispatchMode):
    """Adds up the products of images' codes, +1 where a rectifier's input is positive and -1 elsewhere."""

    def __init__(self, num_images: int) -> None:
        super().__init__()
        self.num_images = num_images
        self.products = torch.zeros(num_images, num_images, dtype=torch.float64)
        self.units = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # As in proxies/macs.py: True would import the compiler.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if func.overloadpacket in RECTIFIERS:
            self._add(args[0])
        return func(*args, **(kwargs or {}))

    def _add(self, x: Tensor) -> None:
        # Windows and merged tokens multiply the first dimension, image by image.
        if x.shape[0] % self.num_images:
            raise ScoreError(f"naswot: got an activation {tuple(x.shape)}, expected {self.num_images} images in its first dimension")
        codes = torch.where(x.reshape(self.num_images, -1) > 0, 1.0, -1.0)
        # Whole numbers below 2**24 are exact in single precision.
        for part in codes.split(2**23, 1):
            self.products += (part @ part.T).double().to(self.products.device)
        self.units += codes.shape[1]
