"""The network of a single file. This module is copied into the file, with the modules that it imports.

It names its tensors as `space.network.TokenMixerNet` does, and needs PyTorch alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from space.blocks import Block, Stage
from space.operators.layers import channels_first, channels_last


class ModuleFactory:
    """An operator that is an option of another one, which builds it once it knows the width."""

    def __init__(self, operator: type[nn.Module], **options: Any) -> None:
        self.operator = operator
        self.options = options

    def build(self, *args: int) -> nn.Module:
        return self.operator(*args, **self.options)


class Network(nn.Module):
    """Stem, stages of blocks, head.

    Args:
        depths: number of blocks of each stage.
        parts: the modules by path, such as `stages.0.blocks.1.mixer`; one that is missing is an identity.
    """

    def __init__(self, depths: Sequence[int], parts: Mapping[str, nn.Module]) -> None:
        super().__init__()

        def part(path: str) -> nn.Module:
            return parts.get(path, nn.Identity())

        self.stem = part("stem")
        self.stages = nn.ModuleList()
        for i, depth in enumerate(depths):
            paths = (f"stages.{i}.blocks.{j}" for j in range(depth))
            blocks = [Block(*(part(f"{path}.{slot}") for slot in ("position", "mixer", "ffn_position", "ffn"))) for path in paths]
            self.stages.append(Stage(part(f"stages.{i}.downsample"), blocks, part(f"stages.{i}.norm")))
        self.head = part("head")

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits, (B, classes)."""
        return self.head(channels_last(self.maps(images_BCHW)[-1]))

    def maps(self, images_BCHW: Tensor) -> list[Tensor]:
        """The map that each stage returns, (B, C, H, W)."""
        x_BCHW = channels_first(self.stem(channels_last(images_BCHW.to(images_BCHW.dtype, memory_format=torch.channels_last))))
        maps = []
        for stage in self.stages:
            x_BCHW = stage(x_BCHW)
            maps.append(x_BCHW)
        return maps
