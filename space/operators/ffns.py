"""Feed-forward networks: (B, H, W, C) -> (B, H, W, C).

The trait `norm` is the norm before the branch; None means the mixer's native one, or batch norm where the mixer has none.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from space.kinds import FFNS, NORMS
from space.operators.layers import DepthwiseConv, LinearBN, ResidualDepthwiseConv

Ratio = Annotated[int, Field(ge=1, le=32)]


@FFNS.register("mlp", paper="https://arxiv.org/abs/1706.03762", elastic=("ratio",), norm=None)
class Mlp(nn.Module):
    """Linear, GELU, linear; the hidden width is `ratio` * C."""

    first_linears = ("fc1",)
    last_linear = "fc2"

    def __init__(self, dim: int, *, ratio: Ratio) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, ratio * dim)
        self.fc2 = nn.Linear(ratio * dim, dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x_BHWC)))


@FFNS.register("ds_ffn", paper="https://arxiv.org/abs/2111.15193", elastic=("ratio",), norm=None)
class DetailSpecificFfn(nn.Module):
    """Shunted Transformer's detail-specific feed-forward: a residual 3x3 depthwise convolution inside the activation.

    The hidden width is `ratio` * C.
    """

    first_linears = ("fc1",)
    last_linear = "fc2"

    def __init__(self, dim: int, *, ratio: Ratio) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, ratio * dim)
        self.conv = ResidualDepthwiseConv(ratio * dim, 3)
        self.fc2 = nn.Linear(ratio * dim, dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.conv(self.fc1(x_BHWC))))


@FFNS.register("dw_ffn", paper="https://arxiv.org/abs/2204.05525", elastic=("ratio",), norm=NORMS("none"))
class DepthwiseFfn(nn.Module):
    """TopFormer's feed-forward: 1x1 convolution and batch norm, depthwise 3x3, ReLU6, 1x1 convolution and batch norm.

    The hidden width is `ratio` * C.
    """

    first_linears = ("fc1",)
    last_linear = "fc2"

    def __init__(self, dim: int, *, ratio: Ratio) -> None:
        super().__init__()
        self.fc1 = LinearBN(dim, ratio * dim)
        self.conv = DepthwiseConv(ratio * dim, 3)
        self.fc2 = LinearBN(ratio * dim, dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.fc2(F.relu6(self.conv(self.fc1(x_BHWC))))
