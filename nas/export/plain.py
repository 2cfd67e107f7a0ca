"""The frame of a network that runs alone: what a single file says besides the operators.

It has the names of `space.network`'s tensors, and none of what searching and training need. These definitions are copied as
they stand, so they import torch alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Option:
    """An operator that another one builds, once it knows the width."""

    def __init__(self, operator: type[nn.Module], **options: Any) -> None:
        self.operator = operator
        self.options = options

    def build(self, *args: int) -> nn.Module:
        return self.operator(*args, **self.options)


class Block(nn.Module):
    """position, x + mixer(x), position, x + ffn(x)."""

    def __init__(self, position: nn.Module, mixer: nn.Module, ffn_position: nn.Module, ffn: nn.Module) -> None:
        super().__init__()
        self.position = position
        self.mixer = mixer
        self.ffn_position = ffn_position
        self.ffn = ffn

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.ffn(self.ffn_position(self.mixer(self.position(x_BHWC))))


class Stage(nn.Module):
    """A downsampler, blocks, and a norm at the end where there is one."""

    def __init__(self, downsample: nn.Module, blocks: Sequence[nn.Module], norm: nn.Module) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.Sequential(*blocks)
        self.norm = norm

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.norm(self.blocks(self.downsample(x_BHWC)))


class Network(nn.Module):
    """Stem, stages, head: images (B, C, H, W) to logits (B, classes)."""

    def __init__(self, stem: nn.Module, stages: Sequence[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.head = head

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.head(self.maps(images_BCHW)[-1].permute(0, 2, 3, 1))

    def maps(self, images_BCHW: Tensor) -> list[Tensor]:
        """The map behind each stage, (B, C, H, W)."""
        x_BHWC = self.stem(images_BCHW.to(memory_format=torch.channels_last).permute(0, 2, 3, 1))
        maps = []
        for stage in self.stages:
            x_BHWC = stage(x_BHWC)
            maps.append(x_BHWC.permute(0, 3, 1, 2))
        return maps
