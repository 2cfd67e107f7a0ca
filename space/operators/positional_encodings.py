"""Positional encodings, over (B, H, W, C)."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from space.kinds import POSITIONS
from space.operators.layers import DepthwiseConv, ResidualDepthwiseConv


@POSITIONS.register("none")
class NoPositionalEncoding(nn.Identity):
    """The identity, as in Shunted Transformer and TopFormer."""

    def __init__(self, dim: int) -> None:
        super().__init__()


@POSITIONS.register("dpe", paper="https://arxiv.org/abs/2201.09450")
class DynamicPositionalEncoding(nn.Module):
    """x + depthwise convolution of x: UniFormer's DPE (section 3.3), DaViT's CPE, Container's position embedding.

    Args:
        kernel_size: side of the convolution; 3 in all three papers.
        act: apply GELU to the convolution first, an option of DaViT's detection backbones.
    """

    def __init__(self, dim: int, *, kernel_size: Literal[3, 5, 7] = 3, act: bool = False) -> None:
        super().__init__()
        self.conv = DepthwiseConv(dim, kernel_size) if act else ResidualDepthwiseConv(dim, kernel_size)
        self.act = act

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return x_BHWC + F.gelu(self.conv(x_BHWC)) if self.act else self.conv(x_BHWC)
