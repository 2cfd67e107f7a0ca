"""TopFormer's semantics injection module and segmentation head (https://arxiv.org/abs/2204.05525, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from space.kinds import HEADS, TAPS
from space.operators.heads.dense import DenseHead, resized
from space.operators.layers import ConvBN, LinearBN, channels_first, channels_last
from space.taps import Shape, Source, Tap

Width = Annotated[int, Field(ge=1, le=1024)]


@TAPS.register("injection", paper="https://arxiv.org/abs/2204.05525")
class Injection(nn.Module):
    """A local map times a gate of the global one plus the global one's embedding: local, global -> (B, H, W, dim)."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.local = LinearBN(in_dim, dim)
        self.embed = LinearBN(in_dim, dim)
        self.gate = LinearBN(in_dim, dim)

    def forward(self, maps_BHWC: list[Tensor]) -> Tensor:
        local_BCHW = channels_first(self.local(maps_BHWC[0]))
        gate_BCHW = channels_first(F.hardsigmoid(self.gate(maps_BHWC[1])))
        embedded_BCHW = channels_first(self.embed(maps_BHWC[1]))
        return channels_last(local_BCHW * resized(gate_BCHW, local_BCHW) + resized(embedded_BCHW, local_BCHW))


@HEADS.register("semantics_injection", paper="https://arxiv.org/abs/2204.05525", elastic=("width",), task="segmentation")
class SemanticsInjection(DenseHead):
    """The trunk's map is injected into each scale of a token pyramid but the largest; their sum is classified at 1/8.

    Args:
        width: channels of the injected maps: 128, 192, 256 in TopFormer-T, -S, -B.
        depthwise: the layer on the sum is a scale per channel, as in TopFormer-T, not a 1x1 convolution.
    """

    def __init__(self, *widths: int, width: Width = 128, depthwise: bool = False) -> None:
        super().__init__(width, widths[-1])
        self.fuse = ConvBN(width, width, 1, groups=width) if depthwise else LinearBN(width, width)

    @staticmethod
    def taps(shapes: Sequence[Shape], *, width: int, **_: object) -> tuple[Tap, ...]:
        *scales, trunk = shapes
        widths = [channels for *_, channels in scales]
        if len(scales) < 2 or sum(widths) != trunk[2]:
            got = ", ".join(map(str, [*widths, trunk[2]]))
            raise ValueError(f"got feature maps of {got} channels, expected those of a token_pyramid and of one stage on all its scales")
        starts = [sum(widths[:i]) for i in range(len(scales))]
        return tuple(
            Tap(TAPS("injection"), (Source(i), Source(len(scales), starts[i], starts[i] + widths[i])), width)
            for i in range(1, len(scales))
        )

    def combined(self, maps_BHWC: list[Tensor]) -> Tensor:
        largest_BCHW = channels_first(maps_BHWC[0])
        total_BCHW = largest_BCHW
        for map_BHWC in maps_BHWC[1:]:
            total_BCHW = total_BCHW + resized(channels_first(map_BHWC), largest_BCHW)
        return F.relu(self.fuse(channels_last(total_BCHW)))
