"""MobileNetV2's inverted residual (https://arxiv.org/abs/1801.04381), of which TopFormer's token pyramid is made."""

from __future__ import annotations

from torch import Tensor, nn

from space.operators.layers import ConvBN, LinearBN


class InvertedResidual(nn.Module):
    """1x1 and ReLU (left out where `ratio` is 1), depthwise and ReLU, 1x1: (B, H, W, in_dim) -> (B, H / stride, W / stride, dim).

    Every convolution has a batch norm and no bias. The input is added where the output is as wide and as large.

    Args:
        ratio: hidden width, in `in_dim`.
    """

    def __init__(self, in_dim: int, dim: int, kernel_size: int, ratio: int, stride: int = 1) -> None:
        super().__init__()
        hidden = ratio * in_dim
        self.expand = nn.Sequential(LinearBN(in_dim, hidden), nn.ReLU()) if ratio != 1 else nn.Identity()
        self.depthwise = ConvBN(hidden, hidden, kernel_size, stride, groups=hidden)
        self.act = nn.ReLU()
        self.project = LinearBN(hidden, dim)
        self.is_residual = stride == 1 and in_dim == dim

    def forward(self, x_BHWC: Tensor) -> Tensor:
        y_BHWC = self.project(self.act(self.depthwise(self.expand(x_BHWC))))
        return x_BHWC + y_BHWC if self.is_residual else y_BHWC
