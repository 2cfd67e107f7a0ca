"""Layers that the operators are made of.

Every map is (B, H, W, C), contiguous: a linear layer or a layer norm takes it as it is, and a convolution gets a channels-last
(B, C, H, W) view of it without a copy. Batch norms are torch's own and get that view, too, so that tools which replace or
freeze them leave the network's function as it is.

Networks can be traced and scripted. So nothing here branches on sizes, except in functions that `torch.fx.wrap` keeps whole.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from space.fuse import merged


def channels_first(x_BHWC: Tensor) -> Tensor:
    """A (B, C, H, W) view."""
    return x_BHWC.permute(0, 3, 1, 2)


def channels_last(x_BCHW: Tensor) -> Tensor:
    """A (B, H, W, C) view."""
    return x_BCHW.permute(0, 2, 3, 1)


class ChannelsFirst(nn.Sequential):
    """Modules over (B, C, H, W) in a row, as one over (B, H, W, C)."""

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x_BCHW = channels_first(x_BHWC)
        for module in self:
            x_BCHW = module(x_BCHW)
        return channels_last(x_BCHW)


class ChannelsLast(nn.Sequential):
    """Modules over (B, H, W, C) in a row, as one over (B, C, H, W)."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BHWC = channels_last(x_BCHW)
        for module in self:
            x_BHWC = module(x_BHWC)
        return channels_first(x_BHWC)


class PaddedConv2d(nn.Conv2d):
    """A convolution over (B, C, H, W). A map smaller than the kernel is padded with zeros, right and bottom."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        side = self.kernel_size[0] - 2 * int(self.padding[0])
        return self._conv_forward(_at_least(x_BCHW, side), self.weight, self.bias)


class Conv(PaddedConv2d):
    """A convolution over (B, H, W, C). A map smaller than the kernel is padded with zeros, right and bottom."""

    def forward(self, x_BHWC: Tensor) -> Tensor:
        side = self.kernel_size[0] - 2 * int(self.padding[0])
        return channels_last(self._conv_forward(_at_least(channels_first(x_BHWC), side), self.weight, self.bias))


@torch.fx.wrap
def _at_least(x_BCHW: Tensor, side: int) -> Tensor:
    """The map, padded to a height and width of `side`."""
    height, width = x_BCHW.shape[2], x_BCHW.shape[3]
    if not torch.jit.is_scripting() and side > 1 and isinstance(height, torch.SymInt):
        # A graph of any size: its map may be smaller than that of the images it is traced with.
        return F.pad(x_BCHW, (0, torch.sym_max(side - width, 0), 0, torch.sym_max(side - height, 0)))
    if height < side or width < side:
        return F.pad(x_BCHW, (0, max(side - width, 0), 0, max(side - height, 0)))
    return x_BCHW


class DepthwiseConv(Conv):
    """A depthwise convolution with bias that keeps the size of the map."""

    def __init__(self, dim: int, kernel_size: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__(dim, dim, kernel_size, stride, kernel_size // 2, groups=dim, bias=bias)


class ResidualDepthwiseConv(DepthwiseConv):
    """x + depthwise convolution of x."""

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return x_BHWC + channels_last(self._conv_forward(channels_first(x_BHWC), self.weight, self.bias))

    def fused(self) -> DepthwiseConv:
        """A plain convolution: the identity is one at the kernel's centre."""
        plain = DepthwiseConv(self.in_channels, self.kernel_size[0]).to(self.weight)
        plain.load_state_dict(self.state_dict())
        with torch.no_grad():
            plain.weight[:, :, self.kernel_size[0] // 2, self.kernel_size[1] // 2] += 1
        return plain


class BatchNorm(nn.Module):
    """Batch norm over the last dimension of (B, H, W, C)."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(dim, eps)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return channels_last(self.bn(channels_first(x_BHWC)))


class Normed(nn.Module):
    """A module with a norm, `norm`. Of a `BatchNorm` it takes the torch module inside: names of tensors have one level less."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.is_batch_norm = isinstance(norm, BatchNorm)
        self.norm: nn.Module = norm.bn if isinstance(norm, BatchNorm) else norm

    def normed(self, x_BHWC: Tensor) -> Tensor:
        """The norm of a map."""
        if self.is_batch_norm:
            return channels_last(self.norm(channels_first(x_BHWC)))
        return self.norm(x_BHWC)


class ConvBN(ChannelsFirst):
    """A convolution without bias, padded by half its kernel, then batch norm, over (B, H, W, C)."""

    def __init__(self, in_dim: int, dim: int, kernel_size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_dim, dim, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(dim)


class LinearBN(nn.Sequential):
    """A 1x1 convolution without bias, then batch norm, over (B, H, W, C)."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, dim, bias=False)
        self.bn = nn.BatchNorm2d(dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return channels_last(self.bn(channels_first(self.linear(x_BHWC))))

    def fused(self) -> nn.Module:
        return self.linear


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BHWC = F.layer_norm(channels_last(x_BCHW), self.normalized_shape, self.weight, self.bias, self.eps)
        return channels_first(x_BHWC)


class GELU2d(nn.GELU):
    """GELU of (B, C, H, W), with the numbers that torch gives for the (B, H, W, C) view: its kernels for the two differ."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return channels_first(F.gelu(channels_last(x_BCHW)))


class QueryKeyValue(nn.Module):
    """Projects tokens to queries, keys and values. Three layers: a fused weight would have no leading slice."""

    first_linears: tuple[str, ...] = ("qkv",)
    last_linear = "proj"

    def __init__(self, q: nn.Module, k: nn.Module, v: nn.Module) -> None:
        super().__init__()
        self.q = q
        self.k = k
        self.v = v
        self.qkv: nn.Linear | None = None
        self.widths: list[int] = []

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of (..., C)."""
        if self.qkv is not None:
            q, k, v = self.qkv(x).split(self.widths, -1)
            return q, k, v
        elif torch.jit.is_scripting():  # noqa: RET505  # TorchScript compiles statements after an `if`
            return self.q(x), self.k(x), self.v(x)
        else:
            q, k, v = self._jointly(x).chunk(3, -1) if self._are_linear() else (self.q(x), self.k(x), self.v(x))
            return q, k, v

    def project_jointly(self, x: Tensor) -> Tensor:
        """Queries, keys and values of (..., C) in one tensor, (..., 3 C), of layers that keep the width."""
        if self.qkv is not None:
            return self.qkv(x)
        elif torch.jit.is_scripting():  # noqa: RET505  # as above
            return torch.cat((self.q(x), self.k(x), self.v(x)), -1)
        else:
            return self._jointly(x) if self._are_linear() else torch.cat((self.q(x), self.k(x), self.v(x)), -1)

    def _are_linear(self) -> bool:
        """Whether a layer's weight and bias say all that it does. What hooks and adapters add, only a call runs."""
        layers = (self.q, self.k, self.v)
        return all(type(layer) is nn.Linear and not layer._forward_hooks and not layer._forward_pre_hooks for layer in layers)

    def _jointly(self, x: Tensor) -> Tensor:
        layers = [layer for layer in (self.q, self.k, self.v) if isinstance(layer, nn.Linear)]
        return _linears(x, [layer.weight for layer in layers], [layer.bias for layer in layers])

    def fused(self) -> nn.Module:
        """Project with one layer, which reads the input once."""
        self.qkv = merged(self.q, self.k, self.v)
        self.widths = [layer.weight.shape[0] for layer in (self.q, self.k, self.v) if isinstance(layer, nn.Linear)]
        del self.q, self.k, self.v
        return self


@torch.fx.wrap
def _linears(x: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    """The concatenated outputs of linear layers with one input."""
    numbers = x.numel()
    # Of a map and the weights, copy the smaller. A graph for any size copies weights, which runtimes do once.
    if isinstance(numbers, int) and numbers < weights[0].numel():
        return torch.cat([F.linear(x, weight, bias) for weight, bias in zip(weights, biases, strict=True)], -1)
    return F.linear(x, torch.cat(weights), torch.cat(biases))


def conv_out(size: int, kernel_size: int, stride: int, padding: int) -> int:
    """Length of one side of the output of `Conv`."""
    return (max(size + 2 * padding, kernel_size) - kernel_size) // stride + 1


def count_heads(dim: int, head_dim: int) -> int:
    """Number of heads; ValueError where `dim` is not a multiple of `head_dim`."""
    if dim % head_dim:
        raise ValueError(f"got width {dim}, expected a multiple of the head size {head_dim}")
    return dim // head_dim


def attend(q_BNC: Tensor, k_BMC: Tensor, v_BMD: Tensor, num_heads: int, scale: float | None = None) -> Tensor:
    """Multi-head softmax attention: (B, N, C), (B, M, C), (B, M, D) -> (B, N, D); `scale` defaults to head size ** -0.5."""
    q, k, v = _heads(q_BNC, num_heads), _heads(k_BMC, num_heads), _heads(v_BMD, num_heads)
    return F.scaled_dot_product_attention(q, k, v, scale=scale).transpose(1, 2).flatten(2)


def _heads(x_BNC: Tensor, num_heads: int) -> Tensor:
    """(B, heads, N, C / heads)."""
    return x_BNC.unflatten(-1, (num_heads, -1)).transpose(1, 2)
