"""Stems: images (B, H, W, C) to the first stage's map (B, H, W, C)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from space.kinds import STEMS
from space.operators.adaptive_pooling import averaged
from space.operators.inverted_residual import InvertedResidual
from space.operators.layers import (
    ChannelsFirst,
    ChannelsLast,
    Conv,
    ConvBN,
    GELU2d,
    LayerNorm2d,
    PaddedConv2d,
    channels_first,
    channels_last,
    conv_out,
)
from space.taps import Shape

# Traced networks call it whole; torch.fx looks names up where they are called.
torch.fx.wrap("averaged")

Hidden = Annotated[int, Field(ge=1, le=1024)]
# Lists in YAML are tuples here: values are hashable.
Widths = Annotated[tuple[Hidden, ...], Field(strict=False, min_length=1, max_length=8)]
Kernels = Annotated[tuple[Literal[3, 5, 7], ...], Field(strict=False, min_length=1, max_length=16)]
Ratios = Annotated[tuple[Annotated[int, Field(ge=1, le=16)], ...], Field(strict=False, min_length=1, max_length=16)]


@STEMS.register("patch_stem", paper="https://arxiv.org/abs/2201.09450")
class PatchStem(nn.Sequential):
    """Non-overlapping patches and layer norm: UniFormer-S/B/L, Container. A remainder at the edge is dropped.

    Args:
        patch_size: side of a patch.
    """

    def __init__(self, in_chans: int, dim: int, *, patch_size: Annotated[int, Field(ge=1, le=64)] = 4) -> None:
        super().__init__()
        self.add_module("conv", Conv(in_chans, dim, patch_size, patch_size))
        self.add_module("norm", nn.LayerNorm(dim))

    @staticmethod
    def out_size(height: int, width: int, *, patch_size: int) -> tuple[int, int]:
        return max(height // patch_size, 1), max(width // patch_size, 1)


@STEMS.register("conv_stem", paper="https://arxiv.org/abs/2201.09450")
class ConvStem(ChannelsFirst):
    """Two 3x3 convolutions with batch norm, GELU between them: UniFormer-S+.

    Args:
        stride: 4 as published; 2, of which the second convolution has none, keeps small images larger.
    """

    def __init__(self, in_chans: int, dim: int, *, stride: Literal[2, 4] = 4) -> None:
        self.check(in_chans, dim)
        super().__init__()
        self.add_module("conv1", nn.Conv2d(in_chans, dim // 2, 3, 2, 1))
        self.add_module("norm1", nn.BatchNorm2d(dim // 2))
        self.add_module("act", GELU2d())
        self.add_module("conv2", nn.Conv2d(dim // 2, dim, 3, stride // 2, 1))
        self.add_module("norm2", nn.BatchNorm2d(dim))

    @staticmethod
    def check(in_chans: int, dim: int, *_: int, **__: int) -> None:
        if dim % 2:
            raise ValueError(f"got width {dim}, expected an even one: the first convolution is half as wide")

    @staticmethod
    def out_size(height: int, width: int, *, stride: int) -> tuple[int, int]:
        return -(-height // stride), -(-width // stride)


@STEMS.register("shunted_stem", paper="https://arxiv.org/abs/2111.15193")
class ShuntedStem(ChannelsFirst):
    """Shunted Transformer's head: 7x7 at stride 2, 3x3 convolutions, then 2x2 at stride 2 and layer norm.

    Args:
        num_convs: number of the 3x3 convolutions: 0, 1, 2 in the variants T, S, B.
        hidden: width before the last convolution.
    """

    def __init__(self, in_chans: int, dim: int, *, num_convs: Literal[0, 1, 2] = 0, hidden: Hidden = 64) -> None:
        super().__init__()
        for index in range(num_convs + 1):
            conv = nn.Conv2d(hidden, hidden, 3, 1, 1, bias=False) if index else nn.Conv2d(in_chans, hidden, 7, 2, 3, bias=False)
            self.add_module(f"conv{index}", conv)
            self.add_module(f"norm{index}", nn.BatchNorm2d(hidden))
            self.add_module(f"act{index}", nn.ReLU())
        self.add_module("proj", PaddedConv2d(hidden, dim, 2, 2))
        self.add_module("norm", LayerNorm2d(dim))

    @staticmethod
    def out_size(height: int, width: int, **_: int) -> tuple[int, int]:
        return tuple(conv_out(conv_out(side, 7, 2, 3), 2, 2, 0) for side in (height, width))  # type: ignore[return-value]


@STEMS.register("davit_stem", paper="https://arxiv.org/abs/2204.03645")
class DavitStem(nn.Sequential):
    """DaViT's overlapping 7x7 patches at stride 4 and layer norm.

    The official code pads the image to a multiple of 4 first. The convolution's own padding reaches as far.
    """

    def __init__(self, in_chans: int, dim: int) -> None:
        super().__init__()
        self.add_module("conv", Conv(in_chans, dim, 7, 4, 3))
        self.add_module("norm", nn.LayerNorm(dim))

    @staticmethod
    def out_size(height: int, width: int) -> tuple[int, int]:
        return -(-height // 4), -(-width // 4)


@STEMS.register("token_pyramid", paper="https://arxiv.org/abs/2204.05525", elastic=("ratios", "pool_stride"))
class TokenPyramid(nn.Module):
    """TopFormer's token pyramid and pooling: the maps of all scales, averaged to the size of the smallest and concatenated.

    A 3x3 convolution at stride 2 and an inverted residual come first; each scale then halves the map again. The
    defaults are TopFormer-T's; their first stage has 16 + 32 + 64 + 96 channels. At another width the scales share its
    channels in the same proportions.

    Args:
        hidden: width before the first scale.
        widths: channels of the scales.
        kernel_sizes: of the inverted residuals, a list a scale.
        ratios: hidden widths of the inverted residuals in their inputs' widths, likewise.
        pool_stride: of the pooled map to the smallest scale's: 1 in TopFormer's classifiers, 2 where it segments.
    """

    def __init__(
        self,
        in_chans: int,
        dim: int,
        *,
        hidden: Hidden = 16,
        widths: Widths = (16, 32, 64, 96),
        kernel_sizes: Annotated[tuple[Kernels, ...], Field(strict=False)] = ((3, 3), (5, 5), (3, 3), (5, 5)),
        ratios: Annotated[tuple[Ratios, ...], Field(strict=False)] = ((4, 3), (3, 3), (3, 3), (6, 6)),
        pool_stride: Literal[1, 2] = 1,
    ) -> None:
        self.check(in_chans, dim, widths=widths, kernel_sizes=kernel_sizes, ratios=ratios)
        super().__init__()
        self.conv = ConvBN(in_chans, hidden, 3, 2)
        self.act = nn.ReLU()
        self.first = InvertedResidual(hidden, hidden, 3, 1)
        self.widths = _deal(dim, widths)
        self.pool_stride = pool_stride
        self.is_cut = False
        self.scales = nn.ModuleList()
        for width, *blocks in zip(self.widths, kernel_sizes, ratios, strict=True):
            scale = ChannelsLast()
            for kernel_size, ratio in zip(*blocks, strict=True):
                scale.append(InvertedResidual(hidden, width, kernel_size, ratio, 1 if len(scale) else 2))
                hidden = width
            self.scales.append(scale)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.pooled(self.pyramid(x_BHWC))

    def pyramid(self, x_BHWC: Tensor) -> list[Tensor]:
        """The maps of all scales, (B, C, H, W)."""
        x_BCHW = channels_first(self.first(self.act(self.conv(x_BHWC))))
        maps: list[Tensor] = []
        for scale in self.scales:
            x_BCHW = scale(x_BCHW)
            maps.append(x_BCHW)
        return maps

    def cut(self, num_scales: int) -> None:
        """Keep the first scales alone. The map of the last one becomes the stem's, so that no stage can follow."""
        self.scales = self.scales[:num_scales]
        self.is_cut = True

    def pooled(self, maps_BCHW: list[Tensor]) -> Tensor:
        """The map (B, H, W, C) that the first stage takes."""
        if self.is_cut:
            return channels_last(maps_BCHW[-1])
        height, width = maps_BCHW[-1].shape[2], maps_BCHW[-1].shape[3]
        height, width = (height - 1) // self.pool_stride + 1, (width - 1) // self.pool_stride + 1
        return torch.cat([channels_last(averaged(map_BCHW, height, width)) for map_BCHW in maps_BCHW], -1)

    @staticmethod
    def check(
        in_chans: int, dim: int, *_: int, widths: Sequence[int], kernel_sizes: Sequence[Kernels], ratios: Sequence[Ratios], **__: int
    ) -> None:
        blocks = [[len(scale) for scale in scales] for scales in (kernel_sizes, ratios)]
        if blocks[0] != blocks[1] or len(blocks[0]) != len(widths):
            text = f"got {len(widths)} widths, {blocks[0]} kernel_sizes and {blocks[1]} ratios"
            raise ValueError(f"{text}, expected as many scales and inverted residuals of each")
        if dim < len(widths):
            raise ValueError(f"got width {dim}, expected at least one channel for each of {len(widths)} scales")

    @staticmethod
    def out_size(height: int, width: int, *, widths: Sequence[int], pool_stride: int, **_: object) -> tuple[int, int]:
        stride = 2 ** (1 + len(widths)) * pool_stride
        return -(-height // stride), -(-width // stride)

    @staticmethod
    def pyramid_shapes(dim: int, height: int, width: int, *, widths: Sequence[int], **_: object) -> tuple[Shape, ...]:
        dealt = enumerate(_deal(dim, widths), start=2)
        return tuple((-(-height // 2**power), -(-width // 2**power), channels) for power, channels in dealt)


def _deal(dim: int, widths: Sequence[int]) -> list[int]:
    """Share `dim` channels in the proportions of `widths`, exactly where they divide, at least one each.

    One channel at a time goes to whoever has least for its proportion, so more channels leave no scale with fewer: a
    narrower pyramid has leading slices of a wider one's weights.
    """
    dealt = [1] * len(widths)
    for _ in range(dim - len(widths)):
        dealt[max(range(len(widths)), key=lambda scale: widths[scale] / (dealt[scale] + 1))] += 1
    return dealt
