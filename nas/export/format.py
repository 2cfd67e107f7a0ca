"""The interface of a format, and the comparison of an export with its network."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from nas.runs.records.metadata import NetworkMetadata
from space.architecture import Architecture
from space.errors import UserError
from space.network import TokenMixerNet

TOLERANCE = 1e-4
"""By how much logits may differ, relative to the greatest one, or absolutely where that is less than 1."""
BATCHES = (1, 2, 5)
"""Numbers of images that are compared."""


class ExportError(UserError):
    """A network that cannot be exported as asked."""


@dataclass(frozen=True)
class ExportedNetwork:
    """A network to write.

    Args:
        network: in evaluation mode, with its weights.
        metadata: what is known of them. Their image size may differ from the architecture's, at which the budget counted.
        is_fused: whether it was folded for inference.
    """

    network: TokenMixerNet
    metadata: NetworkMetadata
    is_fused: bool = False

    @property
    def architecture(self) -> Architecture:
        """Of the network."""
        return self.network.architecture

    @property
    def image_size(self) -> int:
        """Side in pixels that the network was trained at."""
        return self.metadata.preprocessing.image_size


class Format(ABC):
    """Writes a network into a folder, and loads what it wrote."""

    files: ClassVar[tuple[str, ...]]
    seconds_a_block: ClassVar[float]
    """About how long writing and comparing take, on one core."""

    def check(self) -> None:
        """Raise ExportError where this machine lacks what the format needs."""
        return

    def step(self, exported: ExportedNetwork) -> int:
        """Sides of the images that the written network takes differ from the trained one by multiples of it, in pixels."""
        return 1

    def sizes(self, exported: ExportedNetwork) -> str:
        """Which images the written network takes besides those of the trained size, in words."""
        step = self.step(exported)
        return "and others" if step == 1 else f"and others that differ by multiples of {step} px"

    @abstractmethod
    def write(self, exported: ExportedNetwork, folder: Path) -> None:
        """Write the files."""

    @abstractmethod
    def load(self, folder: Path) -> Callable[[Tensor], Tensor]:
        """What was written, as a function of images to logits."""

    @abstractmethod
    def usage(self, exported: ExportedNetwork) -> str:
        """How to use the folder: a few lines of Python."""


def image_sizes(form: Format, exported: ExportedNetwork) -> list[tuple[int, int]]:
    """Heights and widths that are compared: the trained one and larger ones, wide and high, by the smallest steps of the format."""
    side, step = exported.image_size, form.step(exported)
    return [(side, side), (side + step, side + 2 * step), (side + 3 * step, side)]


def differences(form: Format, exported: ExportedNetwork, folder: Path) -> Iterator[tuple[str, float]]:
    """Run an export and its network on random images; yields the shape of the images and the greatest difference of the logits.

    Raises:
        ExportError: the logits differ by more than the tolerance.
    """
    loaded = form.load(folder)
    generator = torch.Generator().manual_seed(0)
    for (height, width), batch in itertools.product(image_sizes(form, exported), BATCHES):
        images = torch.randn(batch, exported.architecture.in_chans, height, width, generator=generator)
        with torch.inference_mode():
            expected = exported.network(images)
        shape = "x".join(map(str, images.shape))
        found = loaded(images)
        if found.shape != expected.shape:
            raise ExportError(f"{shape} images: got logits of shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
        difference = (found - expected).abs().max().item()
        allowed = TOLERANCE * max(1.0, expected.abs().max().item())
        if not difference <= allowed:
            raise ExportError(f"{shape} images: got logits {difference:.2g} off the network's, expected at most {allowed:.2g}")
        yield shape, difference
