"""The images that an INT8 export is calibrated and judged on: those that searches hold out of training, and never test images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nas.export.format import ExportedNetwork, ExportError
from nas.train.supernet_run import search_splits
from supernet.data.image_set import ImageSet
from supernet.data.images import open_images
from supernet.data.splits import Splits
from supernet.data.target_options import TargetOptions
from supernet.tasks.task import Indices, Task, check_head, task_of_images

Batches = Sequence[tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Images (B, C, H, W) and their targets, prepared as the network's own.

    Args:
        images: a training part.
        image_size: in pixels.
        step: the sides of images that a graph takes differ from `image_size` by multiples of it.
    """

    images: ImageSet
    splits: Splits
    image_size: int
    step: int

    @property
    def task(self) -> Task:
        """What the images are for."""
        return task_of_images(self.images)

    @cached_property
    def calibration(self) -> Batches:
        """To measure ranges on, and to decide by."""
        return list(self._batches(self.splits.calibration, self.task.calibration_batch))

    @cached_property
    def search(self) -> Batches:
        """To judge on."""
        return list(self._batches(self.splits.search, self.task.evaluation_batch))

    def _batches(self, indices: Indices, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for images_BCHW, targets in self.task.evaluation_batches(self.images, indices, self.image_size, batch_size):
            height, width = images_BCHW.shape[2:]
            if (height - self.image_size) % self.step or (width - self.image_size) % self.step:
                expected = f"expected sides that differ from {self.image_size} by multiples of {self.step}; try another --image-size"
                raise ExportError(f"{self.images.source}: got images of {height}x{width} px, {expected}")
            yield images_BCHW, targets


def open_held_out(data: str, targets: TargetOptions, exported: ExportedNetwork) -> HeldOut:
    """Open the data, split as a search, or the retraining with the network's seed, splits them.

    Raises:
        UserError: they cannot be opened, or are not for this network.
    """
    images, architecture = open_images(data, targets), exported.architecture
    check_head("architecture", architecture, images)
    for what, got, expected in (
        ("classes", images.num_classes, architecture.num_classes), ("channels", images.in_chans, architecture.in_chans)
    ):  # fmt: skip
        if got != expected:
            raise ExportError(f"data: got {got} {what} in {images.source}, expected {expected}, those of the network")
    splits = search_splits(images, exported.metadata.seed or 0)
    if not len(splits.calibration):
        raise ExportError(f"data: got {len(images)} images in {images.source}, expected ten or more")
    return HeldOut(images, splits, exported.image_size, architecture.reductions[-1])


def one_image(exported: ExportedNetwork) -> Tensor:
    """Random, of the trained size, (1, C, S, S)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, exported.architecture.in_chans, *(exported.image_size,) * 2, generator=generator)
