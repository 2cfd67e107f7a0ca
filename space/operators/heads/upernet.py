"""UPerNet (https://arxiv.org/abs/1807.10221), as UniFormer's and DaViT's segmentation networks use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from space.fuse import affine, fold_norm_after, scale_output
from space.kinds import HEADS, NORMS, TAPS, Norm
from space.operators.adaptive_pooling import averaged
from space.operators.heads.dense import DenseHead, check_halving, resized
from space.operators.layers import LinearBN, channels_first, channels_last
from space.taps import Shape, Source, Tap

# Traced networks call it whole; torch.fx looks names up where they are called.
torch.fx.wrap("averaged")

Width = Annotated[int, Field(ge=1, le=2048)]

POOLED_SIDES = (1, 2, 3, 6)
"""Sides of the maps that the last feature map is averaged to."""


class SummedConvs(nn.Module):
    """A 3x3 convolution without bias of concatenated maps, batch norm and ReLU: maps (B, C_i, H, W) of one size -> (B, dim, H, W).

    Every map has a convolution of its own, and these are added: the same function, in which fewer channels of a map are leading slices.
    """

    def __init__(self, in_dims: Sequence[int], dim: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(in_dim, dim, 3, 1, 1, bias=False) for in_dim in in_dims)
        self.bn: nn.Module = nn.BatchNorm2d(dim)

    def forward(self, maps_BCHW: list[Tensor]) -> Tensor:
        total_BCHW = maps_BCHW[0]
        for i, conv in enumerate(self.convs):
            y_BCHW = conv(maps_BCHW[i])
            total_BCHW = total_BCHW + y_BCHW if i > 0 else y_BCHW
        return F.relu(self.bn(total_BCHW))

    def fused(self) -> nn.Module:
        """Fold the batch norm into the convolutions."""
        first, *others = self.convs
        assert isinstance(first, nn.Conv2d)
        assert isinstance(self.bn, nn.BatchNorm2d)
        scale, _ = affine(self.bn)
        fold_norm_after(first, self.bn)
        for conv in others:
            assert isinstance(conv, nn.Conv2d)
            scale_output(conv, scale)
        self.bn = nn.Identity()
        return self

    def init_weights(self) -> None:
        """As in mmsegmentation; `fan_out` does not depend on how many maps there are."""
        for conv in self.convs:
            assert isinstance(conv.weight, Tensor)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")


@TAPS.register("lateral_relu", paper="https://arxiv.org/abs/1807.10221")
class LateralRelu(nn.Module):
    """A norm, a linear layer, batch norm and ReLU on one map: (B, H, W, in_dim) -> (B, H, W, dim).

    Args:
        norm: before the linear layer. The stages that follow do not see it.
    """

    def __init__(self, in_dim: int, dim: int, *, norm: Norm = NORMS("none")) -> None:
        super().__init__()
        self.norm = norm.build(in_dim)
        self.lateral = LinearBN(in_dim, dim)

    def forward(self, maps_BHWC: list[Tensor]) -> Tensor:
        return F.relu(self.lateral(self.norm(maps_BHWC[0])))


@TAPS.register("pyramid_pooling", paper="https://arxiv.org/abs/1612.01105")
class PyramidPooling(nn.Module):
    """A map and its averages over 1, 4, 9 and 36 rectangles, combined by a 3x3 convolution: (B, H, W, in_dim) -> (B, H, W, dim).

    Args:
        norm: of the map, before everything else.
    """

    def __init__(self, in_dim: int, dim: int, *, norm: Norm = NORMS("none")) -> None:
        super().__init__()
        self.norm = norm.build(in_dim)
        self.pools = nn.ModuleList(LinearBN(in_dim, dim) for _ in POOLED_SIDES)
        self.bottleneck = SummedConvs([in_dim] + [dim] * len(POOLED_SIDES), dim)
        self.sides = POOLED_SIDES

    def forward(self, maps_BHWC: list[Tensor]) -> Tensor:
        map_BCHW = channels_first(self.norm(maps_BHWC[0]))
        maps_BCHW = [map_BCHW]
        for i, pool in enumerate(self.pools):
            pooled_BHWC = F.relu(pool(channels_last(averaged(map_BCHW, self.sides[i], self.sides[i]))))
            maps_BCHW.append(resized(channels_first(pooled_BHWC), map_BCHW))
        return channels_last(self.bottleneck(maps_BCHW))


@HEADS.register("upernet", paper="https://arxiv.org/abs/1807.10221", elastic=("width",), task="segmentation")
class UPerNet(DenseHead):
    """A feature pyramid on top of pyramid pooling; its maps, brought to the largest one's size, are combined by a 3x3 convolution.

    The auxiliary classifier that the official networks have in training is not part of it.

    Args:
        width: channels of the feature pyramid; 512 as published.
        norm: of every feature map, for this head alone: layer norm in UniFormer and DaViT.
    """

    def __init__(self, *widths: int, width: Width = 512, norm: Norm = NORMS("layer_norm")) -> None:
        *levels, num_classes = widths
        super().__init__(width, num_classes)
        self.levels = nn.ModuleList(SummedConvs([width], width) for _ in levels[1:])
        self.bottleneck = SummedConvs([width] * len(levels), width)

    @staticmethod
    def taps(shapes: Sequence[Shape], *, width: int, norm: Norm, **_: object) -> tuple[Tap, ...]:
        check_halving(tuple(shapes), least=2)
        *laterals, last = range(len(shapes))
        pooling = Tap(TAPS("pyramid_pooling", norm=norm), (Source(last),), width)
        return (*(Tap(TAPS("lateral_relu", norm=norm), (Source(i),), width) for i in laterals), pooling)

    def combined(self, maps_BHWC: list[Tensor]) -> Tensor:
        pyramid_BCHW = [channels_first(maps_BHWC[-1])]
        for i in range(len(maps_BHWC) - 2, -1, -1):
            finer_BCHW = channels_first(maps_BHWC[i])
            pyramid_BCHW.insert(0, finer_BCHW + resized(pyramid_BCHW[0], finer_BCHW))
        largest_BCHW = pyramid_BCHW[0]
        levels_BCHW = [pyramid_BCHW[-1]]
        for i, level in enumerate(self.levels):
            levels_BCHW.insert(i, level([pyramid_BCHW[i]]))
        return channels_last(self.bottleneck([resized(level_BCHW, largest_BCHW) for level_BCHW in levels_BCHW]))
