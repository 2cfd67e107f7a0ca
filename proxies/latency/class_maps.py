"""What follows a network that labels pixels where its latency includes the map of classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from proxies.target import Target, TargetError
from space.architecture import Architecture


class ClassMap(nn.Module):
    """The likeliest class of every pixel: logits, interpolated to the size of the image, to class numbers (B, H, W).

    Args:
        side: of the image, in pixels.
        is_channels_last: whether it takes (B, H', W', classes), as a head returns, and not (B, classes, H', W').
    """

    def __init__(self, side: int, is_channels_last: bool) -> None:
        super().__init__()
        self.side = side
        self.is_channels_last = is_channels_last

    def forward(self, logits: Tensor) -> Tensor:
        logits_BKHW = logits.permute(0, 3, 1, 2) if self.is_channels_last else logits
        return F.interpolate(logits_BKHW, (self.side, self.side), mode="bilinear", align_corners=False).argmax(1)


def check_output(target: Target, architectures: Sequence[Architecture]) -> None:
    """TargetError where a target's output is not one of these networks."""
    if target.output == "argmax" and any(architecture.task != "segmentation" for architecture in architectures):
        raise TargetError(f"{target}: got networks that classify whole images, expected argmax for networks that label pixels alone")


def with_output(module: nn.Module, target: Target, side: int, is_head: bool = False) -> nn.Module:
    """A network, or the head of one, followed by what the target's output takes.

    Args:
        side: of the image, in pixels.
    """
    return nn.Sequential(module, ClassMap(side, is_channels_last=is_head)) if target.output == "argmax" else module
