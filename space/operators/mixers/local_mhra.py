"""UniFormer's local multi-head relation aggregator (https://arxiv.org/abs/2201.09450, equation 5)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from space.kinds import MIXERS, NORMS
from space.operators.layers import DepthwiseConv


@MIXERS.register("local_mhra", paper="https://arxiv.org/abs/2201.09450", norm=NORMS("batch_norm"))
class LocalMHRA(nn.Module):
    """1x1, depthwise `kernel_size` x `kernel_size`, 1x1: a learnt affinity by relative position, no activation.

    Container's convolution block is the same operator.

    Args:
        kernel_size: side of the neighbourhood; the papers use 5.
    """

    first_linears = ("value",)
    last_linear = "proj"

    def __init__(self, dim: int, *, kernel_size: Literal[3, 5, 7]) -> None:
        super().__init__()
        self.value = nn.Linear(dim, dim)
        self.conv = DepthwiseConv(dim, kernel_size)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.proj(self.conv(self.value(x_BHWC)))
