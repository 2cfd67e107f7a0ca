"""Container's mixed affinity (https://arxiv.org/abs/2106.01401, equation 5), as the released code computes it."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from space.fuse import scale_output
from space.kinds import MIXERS, NORMS
from space.operators.layers import DepthwiseConv, QueryKeyValue, attend, count_heads


@MIXERS.register("container", paper="https://arxiv.org/abs/2106.01401", norm=NORMS("batch_norm"))
class ContainerMix(QueryKeyValue):
    """A learnt sigmoid gate mixes softmax attention over all tokens with a static depthwise affinity of the values.

    Args:
        head_dim: channels of an attention head.
        kernel_size: side of the static affinity's window.
    """

    def __init__(self, dim: int, *, head_dim: PositiveInt = 32, kernel_size: Literal[3, 5, 7] = 5) -> None:
        super().__init__(*(nn.Linear(dim, dim) for _ in range(3)))
        self.num_heads = count_heads(dim, head_dim)
        self.static = DepthwiseConv(dim, kernel_size)
        self.gate: nn.Parameter | None = nn.Parameter(torch.zeros(1))
        self.proj = nn.Linear(dim, dim)

    @staticmethod
    def check(dim: int, height: int, width: int, *, head_dim: int, kernel_size: int) -> None:
        count_heads(dim, head_dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        q_BNC, k_BNC, v_BNC = self.project(x_BHWC.flatten(1, 2))
        dynamic_BHWC = attend(q_BNC, k_BNC, v_BNC, self.num_heads).view_as(x_BHWC)
        static_BHWC = self.static(v_BNC.view_as(x_BHWC))
        if self.gate is None:
            return self.proj(dynamic_BHWC + static_BHWC)
        gate = self.gate.sigmoid()
        return self.proj(gate * dynamic_BHWC + (1 - gate) * static_BHWC)

    def fused(self) -> nn.Module:
        """Move the gate into the layers: g * proj(dynamic + (1 - g) / g * static)."""
        if self.gate is not None:
            gate = self.gate.double().sigmoid()
            scale_output(self.static, (1 - gate) / gate)
            self.proj.weight = nn.Parameter((self.proj.weight * gate).to(self.proj.weight))
            self.gate = None
        return super().fused()
