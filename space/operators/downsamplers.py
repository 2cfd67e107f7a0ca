"""Downsamplers: one stage's map (B, H, W, C) to the next stage's, half as high and wide."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from space.kinds import DOWNSAMPLERS
from space.operators.layers import ChannelsFirst, Conv


def _halved_up(height: int, width: int) -> tuple[int, int]:
    return -(-height // 2), -(-width // 2)


@DOWNSAMPLERS.register("patch_downsample", paper="https://arxiv.org/abs/2201.09450")
class PatchDownsample(nn.Sequential):
    """2x2 patches, then layer norm: UniFormer-S/B/L, Container. An odd row or column is dropped."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.add_module("conv", Conv(in_dim, dim, 2, 2))
        self.add_module("norm", nn.LayerNorm(dim))

    @staticmethod
    def out_size(height: int, width: int) -> tuple[int, int]:
        return max(height // 2, 1), max(width // 2, 1)


@DOWNSAMPLERS.register("conv_downsample", paper="https://arxiv.org/abs/2201.09450")
class ConvDownsample(ChannelsFirst):
    """3x3 convolution at stride 2, then batch norm: UniFormer-S+."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv2d(in_dim, dim, 3, 2, 1))
        self.add_module("norm", nn.BatchNorm2d(dim))

    out_size = staticmethod(_halved_up)


@DOWNSAMPLERS.register("overlap_downsample", paper="https://arxiv.org/abs/2111.15193")
class OverlapDownsample(nn.Sequential):
    """3x3 convolution at stride 2, then layer norm: Shunted Transformer."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.add_module("conv", Conv(in_dim, dim, 3, 2, 1))
        self.add_module("norm", nn.LayerNorm(dim))

    out_size = staticmethod(_halved_up)


@DOWNSAMPLERS.register("davit_downsample", paper="https://arxiv.org/abs/2204.03645")
class DavitDownsample(nn.Module):
    """Layer norm, then 2x2 patches: DaViT. An odd side is padded with zeros, after the norm."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_dim)
        self.conv = Conv(in_dim, dim, 2, 2)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.conv(_even(self.norm(x_BHWC)))

    out_size = staticmethod(_halved_up)


@torch.fx.wrap
def _even(x_BHWC: Tensor) -> Tensor:
    """The map, padded by a row and a column where their number is odd."""
    bottom, right = x_BHWC.shape[1] % 2, x_BHWC.shape[2] % 2
    # Padding by nothing copies the map. Graphs for any size pad always: there the sides are symbols.
    if isinstance(bottom, int) and isinstance(right, int) and bottom + right == 0:
        return x_BHWC
    return F.pad(x_BHWC, (0, 0, 0, right, 0, bottom))
