"""What every format does, and how an export is compared with its network before it counts."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from space.architecture import Architecture
from space.errors import UserError
from space.network import TokenMixerNet

TOLERANCE = 1e-4
"""Of logits, in the greatest of them or in one, whichever is more."""
BATCHES = (1, 3)


class ExportError(UserError):
    """A network that cannot be exported as asked."""


@dataclass(frozen=True)
class ExportedNetwork:
    """A network to write.

    Args:
        network: in evaluation mode, with its weights; its architecture's image size is the one that it was trained at.
        is_fused: whether it was folded for inference.
        labels: names of the classes, in order; empty where unknown.
    """

    network: TokenMixerNet
    is_fused: bool = False
    labels: tuple[str, ...] = ()

    @property
    def architecture(self) -> Architecture:
        """Of the network."""
        return self.network.architecture


class Format(ABC):
    """Writes a network into a folder, and loads what it wrote."""

    files: ClassVar[tuple[str, ...]]
    seconds_a_block: ClassVar[float]
    """About how long writing and comparing take, on one core."""

    def check(self) -> None:
        """Raise ExportError where this machine lacks what the format needs."""
        return

    def takes_any_size(self, architecture: Architecture) -> bool:
        """Whether what is written takes images of other sizes than the architecture's own."""
        return True

    @abstractmethod
    def write(self, exported: ExportedNetwork, folder: Path) -> None:
        """Write the files."""

    @abstractmethod
    def load(self, folder: Path) -> Callable[[Tensor], Tensor]:
        """What was written, as a function of images to logits."""

    @abstractmethod
    def usage(self, architecture: Architecture) -> str:
        """How a stranger uses the folder: a few lines of Python."""


def image_sizes(form: Format, architecture: Architecture) -> list[tuple[int, int]]:
    """The image sizes at which an export is compared: its own and, where it takes others, a larger one that is not square."""
    side, step = architecture.image_size, architecture.reductions[-1]
    return [(side, side)] + ([(side + step, side + 2 * step)] if form.takes_any_size(architecture) else [])


def differences(form: Format, exported: ExportedNetwork, folder: Path) -> Iterator[tuple[str, float]]:
    """Load an export and run it beside its network: the shape of the images, and by how much the logits differ at most.

    Raises:
        ExportError: they differ by more than the tolerance.
    """
    loaded = form.load(folder)
    generator = torch.Generator().manual_seed(0)
    for (height, width), batch in itertools.product(image_sizes(form, exported.architecture), BATCHES):
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
            raise ExportError(f"{shape} images: got logits {difference:.2g} off the network's, expected {allowed:.2g} at most")
        yield shape, difference


def state_of(exported: ExportedNetwork) -> dict[str, Tensor]:
    """The network's tensors, as files hold them."""
    return {name: tensor.detach().contiguous() for name, tensor in exported.network.state_dict().items()}


