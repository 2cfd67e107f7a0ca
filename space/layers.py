"""Layers that the operators are made of.

Every map is (B, H, W, C), contiguous: a linear layer or a layer norm takes it as it is, and a convolution sees it,
without a copy, as a channels-last (B, C, H, W).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from space.fuse import merged


class Conv(nn.Conv2d):
    """A convolution over (B, H, W, C). A map smaller than the kernel is padded with zeros, right and bottom."""

    def forward(self, x_BHWC: Tensor) -> Tensor:
        _, height, width, _ = x_BHWC.shape
        missing_h = self.kernel_size[0] - height - 2 * int(self.padding[0])
        missing_w = self.kernel_size[1] - width - 2 * int(self.padding[1])
        if missing_h > 0 or missing_w > 0:
            x_BHWC = F.pad(x_BHWC, (0, 0, 0, max(missing_w, 0), 0, max(missing_h, 0)))
        return super().forward(x_BHWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class DepthwiseConv(Conv):
    """A depthwise convolution with bias that keeps the size of the map."""

    def __init__(self, dim: int, kernel_size: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__(dim, dim, kernel_size, stride, kernel_size // 2, groups=dim, bias=bias)


class ResidualDepthwiseConv(DepthwiseConv):
    """x + depthwise convolution of x."""

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return x_BHWC + super().forward(x_BHWC)

    def fused(self) -> DepthwiseConv:
        """A plain convolution: the identity is one at the kernel's centre."""
        plain = DepthwiseConv(self.in_channels, self.kernel_size[0]).to(self.weight)
        plain.load_state_dict(self.state_dict())
        with torch.no_grad():
            plain.weight[:, :, self.kernel_size[0] // 2, self.kernel_size[1] // 2] += 1
        return plain


class BatchNorm(nn.BatchNorm2d):
    """Batch norm over the last dimension of (B, H, W, C)."""

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return super().forward(x_BHWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class ConvBN(nn.Sequential):
    """A convolution without bias, padded by half its kernel, then batch norm, over (B, H, W, C)."""

    def __init__(self, in_dim: int, dim: int, kernel_size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = Conv(in_dim, dim, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
        self.bn = BatchNorm(dim)

    def fused(self) -> nn.Module:
        return self.conv


class LinearBN(nn.Sequential):
    """A 1x1 convolution without bias, then batch norm, over (B, H, W, C)."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, dim, bias=False)
        self.bn = BatchNorm(dim)

    def fused(self) -> nn.Module:
        return self.linear


class QueryKeyValue(nn.Module):
    """What projects tokens to queries, keys and values: three layers, since a fused weight has no leading slice."""

    first_linears: tuple[str, ...] = ("qkv",)
    last_linear = "proj"

    def __init__(self, q: nn.Module, k: nn.Module, v: nn.Module) -> None:
        super().__init__()
        self.q = q
        self.k = k
        self.v = v
        self.qkv: nn.Linear | None = None

    def project(self, x: Tensor, apply: Callable[[Any, Tensor], Tensor] = lambda layer, x: layer(x)) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of (..., C); `apply` says how, where it is not just by calling the layer."""
        if self.qkv is None:
            return apply(self.q, x), apply(self.k, x), apply(self.v, x)
        q, k, v = apply(self.qkv, x).split(self._widths, -1)
        return q, k, v

    def fused(self) -> nn.Module:
        """Project with one layer: the input is read once."""
        self._widths = [layer.out_features for layer in (self.q, self.k, self.v)]
        self.qkv = merged(self.q, self.k, self.v)
        del self.q, self.k, self.v
        return self


def conv_out(size: int, kernel_size: int, stride: int, padding: int) -> int:
    """Length of a convolution's output along one side, for `Conv`."""
    return (max(size + 2 * padding, kernel_size) - kernel_size) // stride + 1


def count_heads(dim: int, head_dim: int) -> int:
    """Number of heads; ValueError where `dim` is not a multiple of `head_dim`."""
    if dim % head_dim:
        raise ValueError(f"got width {dim}, expected a multiple of the head size {head_dim}")
    return dim // head_dim


def attend(q_BNC: Tensor, k_BMC: Tensor, v_BMD: Tensor, num_heads: int, scale: float | None = None) -> Tensor:
    """Multi-head softmax attention: (B, N, C), (B, M, C), (B, M, D) -> (B, N, D); `scale` defaults to head size ** -0.5."""
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (q_BNC, k_BMC, v_BMD))
    return F.scaled_dot_product_attention(q, k, v, scale=scale).transpose(1, 2).flatten(2)
