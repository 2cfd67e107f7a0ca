"""Container's mixed affinity (https://arxiv.org/abs/2106.01401, equation 5), as the released code computes it."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from space.kinds import MIXERS, NORMS
from space.layers import DepthwiseConv, attend, count_heads


@MIXERS.register("container", paper="https://arxiv.org/abs/2106.01401", norm=NORMS("batch_norm"))
class ContainerMix(nn.Module):
    """A learnt sigmoid gate mixes softmax attention over all tokens with a static depthwise affinity of the values.

    Args:
        head_dim: channels of an attention head.
        kernel_size: side of the static affinity's window.
    """

    def __init__(self, dim: int, *, head_dim: PositiveInt = 32, kernel_size: Literal[3, 5, 7] = 5) -> None:
        super().__init__()
        self.num_heads = count_heads(dim, head_dim)
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.static = DepthwiseConv(dim, kernel_size)
        self.gate = nn.Parameter(torch.zeros(1))
        self.proj = nn.Linear(dim, dim)

    @staticmethod
    def check(dim: int, height: int, width: int, *, head_dim: int, kernel_size: int) -> None:
        count_heads(dim, head_dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        tokens_BNC, v_BHWC = x_BHWC.flatten(1, 2), self.v(x_BHWC)
        dynamic_BNC = attend(self.q(tokens_BNC), self.k(tokens_BNC), v_BHWC.flatten(1, 2), self.num_heads)
        gate = self.gate.sigmoid()
        return self.proj(gate * dynamic_BNC.view_as(x_BHWC) + (1 - gate) * self.static(v_BHWC))
