"""The networks of single files. This module is copied into the file, with the modules that it imports.

They name their tensors as `TokenMixerNet` of `space.backbone` does, and need PyTorch alone.
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
        """The feature maps, (B, C, H, W): those of a stem that is a pyramid, then one a stage."""
        x_BHWC = channels_last(images_BCHW.to(images_BCHW.dtype, memory_format=torch.channels_last))
        maps = list(self.stem.pyramid(x_BHWC)) if hasattr(self.stem, "pyramid") else []  # type: ignore[operator]
        x_BCHW = channels_first(self.stem.pooled(maps) if maps else self.stem(x_BHWC))  # type: ignore[operator]
        for stage in self.stages:
            x_BCHW = stage(x_BCHW)
            maps.append(x_BCHW)
        return maps


class DenseNetwork(Network):
    """A network whose head combines several feature maps.

    Args:
        sources: of each tap, index, first and last channel of the feature maps that it takes; channels 0 to 0 are all.
    """

    def __init__(self, depths: Sequence[int], parts: Mapping[str, nn.Module], sources: Sequence[Sequence[tuple[int, int, int]]]) -> None:
        super().__init__(depths, parts)
        self.sources = sources
        self.taps = nn.ModuleList(parts[f"taps.{i}"] for i in range(len(sources)))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits, (B, classes, H, W), at the stride of the head's first map."""
        maps = [channels_last(map_BCHW) for map_BCHW in self.maps(images_BCHW)]
        taken = [
            tap([maps[feature][..., start : stop or None] for feature, start, stop in sources])
            for tap, sources in zip(self.taps, self.sources, strict=True)
        ]
        return channels_first(self.head(taken))
