"""Semantic FPN (https://arxiv.org/abs/1901.02446), as UniFormer's and Shunted Transformer's segmentation networks use it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from space.kinds import HEADS, NORMS, TAPS, Norm
from space.operators.heads.dense import DenseHead, check_halving, resized
from space.operators.layers import channels_first, channels_last
from space.taps import Shape, Source, Tap

Width = Annotated[int, Field(ge=1, le=2048)]


@TAPS.register("lateral", paper="https://arxiv.org/abs/1612.03144")
class Lateral(nn.Module):
    """A norm and a linear layer on one map: (B, H, W, in_dim) -> (B, H, W, dim).

    Args:
        norm: before the linear layer. The stages that follow do not see it.
    """

    def __init__(self, in_dim: int, dim: int, *, norm: Norm = NORMS("none")) -> None:
        super().__init__()
        self.norm = norm.build(in_dim)
        self.linear = nn.Linear(in_dim, dim)

    def forward(self, maps_BHWC: list[Tensor]) -> Tensor:
        return self.linear(self.norm(maps_BHWC[0]))

    def init_weights(self) -> None:
        """As in mmsegmentation."""
        nn.init.xavier_uniform_(self.linear.weight)


@HEADS.register("semantic_fpn", paper="https://arxiv.org/abs/1901.02446", elastic=("width", "hidden"), task="segmentation")
class SemanticFpn(DenseHead):
    """A feature pyramid network from coarse to fine, then convolutions that bring each of its maps to the largest one's size.

    Args:
        width: channels of the feature pyramid; 256 as published.
        hidden: channels of the convolutions behind it; 128 as published.
        norm: of every feature map, for this head alone: layer norm in UniFormer and DaViT, none in Shunted Transformer.
    """

    def __init__(self, *widths: int, width: Width = 256, hidden: Width = 128, norm: Norm = NORMS("layer_norm")) -> None:
        *levels, num_classes = widths
        super().__init__(hidden, num_classes)
        self.levels = nn.ModuleList(_Level(width, hidden, num_doublings) for num_doublings in range(len(levels)))

    @staticmethod
    def taps(shapes: Sequence[Shape], *, width: int, norm: Norm, **_: object) -> tuple[Tap, ...]:
        check_halving(tuple(shapes), least=2)
        return tuple(Tap(TAPS("lateral", norm=norm), (Source(i),), width) for i in range(len(shapes)))

    def combined(self, maps_BHWC: list[Tensor]) -> Tensor:
        levels_BCHW = [channels_first(maps_BHWC[-1])]
        for i in range(len(maps_BHWC) - 2, -1, -1):
            finer_BCHW = channels_first(maps_BHWC[i])
            size = (finer_BCHW.shape[2], finer_BCHW.shape[3])
            levels_BCHW.insert(0, finer_BCHW + F.interpolate(levels_BCHW[0], size, mode="nearest"))
        largest_BCHW, total_BCHW = levels_BCHW[0], levels_BCHW[0]
        for i, level in enumerate(self.levels):
            y_BCHW = level(levels_BCHW[i])
            # Odd sides make coarser maps a little smaller or larger when they are doubled.
            total_BCHW = total_BCHW + resized(y_BCHW, largest_BCHW) if i > 0 else y_BCHW
        return channels_last(total_BCHW)


class _Level(nn.Module):
    """A convolution of the feature pyramid, then 3x3 convolutions, each of which but the largest map's doubles the map: (B, C, H, W)."""

    def __init__(self, width: int, hidden: int, num_doublings: int) -> None:
        super().__init__()
        self.doubles = num_doublings > 0
        self.pyramid = nn.Conv2d(width, width, 3, 1, 1)
        dims = [width] + [hidden] * max(num_doublings, 1)
        self.convs = nn.ModuleList(_conv_bn_relu(*pair) for pair in itertools.pairwise(dims))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.pyramid(x_BCHW)
        for conv in self.convs:
            x_BCHW = conv(x_BCHW)
            if self.doubles:
                size = (2 * x_BCHW.shape[2], 2 * x_BCHW.shape[3])
                x_BCHW = F.interpolate(x_BCHW, size, mode="bilinear", align_corners=False)
        return x_BCHW


def _conv_bn_relu(in_dim: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_dim, dim, 3, 1, 1, bias=False), nn.BatchNorm2d(dim), nn.ReLU())
