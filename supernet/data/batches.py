"""Batches of tensors: the stream of training batches, and images to evaluate on.

Pixels are scaled to 0 to 1, then normalised by ImageNet's mean (0.485, 0.456, 0.406) and standard deviation (0.229, 0.224, 0.225).

Sets that take a small share of the device's memory are decoded once, kept there, and augmented there in batches. Images of other sets,
and those with a policy of timm's, are decoded, cropped and resized one by one, for larger images in worker processes.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from supernet.data import augmentation as augmenting
from supernet.data.augmentation import CROP_RATIOS, MILD, Augmentation, normalised
from supernet.data.images import ImageSet
from supernet.data.kept_images import KeptImages, kept_images, on_device
from supernet.data.loading import CPU, ImageLoader, Loaded, Sample, default_workers
from supernet.data.preprocessing import CENTRE, SMALL_SIZE, preprocessing_at
from supernet.data.unreadable import DataError
from supernet.seeding import seed_of

REDUCING_GAP = 2
"""Decoding at a reduced size leaves so many pixels for each that a network sees, a side; as Pillow advises."""


@dataclass(frozen=True, eq=False)
class TrainingBatches(ABC):
    """Training batches of equal size: square images and their targets. A step's batch depends on nothing but the seed and the step.

    Each epoch samples every image once, in another order. A batch may span two epochs.

    Args:
        indices: numbers of the images to train on.
        augmentation: random changes of images and targets.
        num_workers: worker processes that load images; by default `default_workers(image_size, device)`.
    """

    images: ImageSet
    indices: np.ndarray
    batch_size: int
    image_size: int
    seed: int
    augmentation: Any
    num_workers: int | None = None

    @property
    def num_classes(self) -> int:
        return self.images.num_classes

    @property
    def steps_per_epoch(self) -> int:
        """Steps until every image has been sampled once; the last batch is filled up from the next epoch."""
        return -(-len(self.indices) // self.batch_size)

    def stream(
        self, start: int, stop: int, rows: Sequence[int] | None = None, device: torch.device = CPU
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (B, 3, S, S) and targets (B, ...), on a device, of the steps from `start` to before `stop`.

        Args:
            rows: which rows of each batch to load, in this order; by default all.
        """
        return self._batches(range(start, stop), np.arange(self.batch_size) if rows is None else np.asarray(rows), device)

    def samples(self, step: int) -> list[Sample]:
        """The batch of a step: of each image the number of samples since step 0, and its number in the set."""
        total = len(self.indices)
        numbers = range(step * self.batch_size, (step + 1) * self.batch_size)
        return [(number, int(self.indices[_order(self.seed, number // total, total)[number % total]])) for number in numbers]

    @abstractmethod
    def _batches(self, steps: range, rows: np.ndarray, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """What `stream` yields."""

    def _loaded(self, loader: ImageLoader, steps: range, rows: np.ndarray, device: torch.device) -> Iterator[Loaded]:
        """The images of each step, loaded for it."""
        return loader.batches(self._samples_of(steps, rows), self._workers(device), pinned=device.type == "cuda")

    def _kept(self, kept: KeptImages, loader: ImageLoader, steps: range, rows: np.ndarray) -> Iterator[list[Sample]]:
        """The samples of each step, once their images are on the device; they are loaded before they are first needed."""
        workers = 0 if kept.is_complete else self._workers(kept.device)
        missing = loader.batches(kept.missing(self._samples_of(steps, rows)), workers, pinned=kept.device.type == "cuda")
        for samples in self._samples_of(steps, rows):
            for loaded in itertools.islice(missing, 1):
                kept.add(loaded)
            yield samples

    def _samples_of(self, steps: range, rows: np.ndarray) -> Iterator[list[Sample]]:
        for step in steps:
            batch = self.samples(step)
            yield [batch[row] for row in rows]

    def _workers(self, device: torch.device) -> int:
        return default_workers(self.image_size, device) if self.num_workers is None else self.num_workers


@dataclass(frozen=True, eq=False)
class Batches(TrainingBatches):
    """Training batches of images and their classes (B,)."""

    augmentation: Augmentation = MILD

    def _batches(self, steps: range, rows: np.ndarray, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        kept = kept_images(self.images, self.indices, self._least_side, device) if self.augmentation.auto_augment is None else None
        batches = self._transformed(steps, rows, device) if kept is None else self._cropped(steps, rows, kept)
        for step, (levels_BCHW, labels_B) in zip(steps, batches, strict=True):
            images_BCHW = normalised(levels_BCHW)
            yield self._erased(step, rows, images_BCHW) if self.augmentation.erase else images_BCHW, labels_B

    def _cropped(self, steps: range, rows: np.ndarray, kept: KeptImages) -> Iterator[tuple[Tensor, Tensor]]:
        """Levels and labels from images that stay on the device."""
        augmentation = self._augmentation
        loader = ImageLoader(self.images, kept.decoded, self._least_side, part=self.indices)
        for step, samples in zip(steps, self._kept(kept, loader, steps, rows), strict=True):
            uniforms = augmentation.uniforms(self.seed, step, self.batch_size)[rows]
            changes = on_device(augmentation.changes(uniforms, kept.sizes(samples)), kept.device)
            pixels_BCHW, labels_B = kept.batch(samples)
            levels_BCHW = augmenting.resized_crops(pixels_BCHW, changes, self.image_size)
            yield augmenting.recoloured(levels_BCHW, changes) if augmentation.color_jitter else levels_BCHW, labels_B

    def _transformed(self, steps: range, rows: np.ndarray, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """Levels and labels from images that are loaded and transformed one by one."""
        transform = _training_transform(self._augmentation, self.image_size)
        least_side = None if self.image_size <= SMALL_SIZE else self._least_side
        loader = ImageLoader(self.images, transform, least_side, self.seed, self.indices)
        for loaded in self._loaded(loader, steps, rows, device):
            yield loaded.pixels_BCHW.to(device, non_blocking=True), loaded.labels_B.to(device, non_blocking=True)

    def _erased(self, step: int, rows: np.ndarray, images_BCHW: Tensor) -> Tensor:
        device = images_BCHW.device
        boxes = self.augmentation.erased(self.augmentation.uniforms(self.seed, step, self.batch_size)[rows], self.image_size)
        noise = augmenting.noise(self.seed, step, (self.batch_size, *images_BCHW.shape[1:]), device)
        return augmenting.erase(images_BCHW, on_device(boxes, device), noise[on_device(rows, device)])

    @property
    def _augmentation(self) -> Augmentation:
        """The changes that leave the labels of this set's images as they are."""
        images, wanted = self.images, self.augmentation
        return replace(wanted, min_area=wanted.min_area if images.crop else 1.0, mirror=wanted.mirror and images.mirror)

    @property
    def _least_side(self) -> int:
        """The shorter side, in pixels, that is left of an image decoded at a reduced size."""
        narrowest = math.sqrt(self._augmentation.min_area * CROP_RATIOS[0])
        return math.ceil(REDUCING_GAP * self.image_size / narrowest)


def rows_of_part(size: int, part: int, parts: int) -> list[int]:
    """Rows of a batch that one process of several trains on; all processes have equally many.

    Mixup pairs the first row with the last one, the second with the last but one and so on. Each pair stays in one process.
    """
    if parts == 1:
        return list(range(size))
    lower = range(part, size // 2, parts)
    return [*lower, *(size - 1 - row for row in reversed(lower))]


def fixed_batch(images: ImageSet, indices: Sequence[int] | np.ndarray, image_size: int) -> tuple[Tensor, Tensor]:
    """Images without augmentation, (B, 3, S, S) float32, and labels (B,); unreadable images are left out."""
    (batch,) = evaluation_batches(images, indices, image_size, len(indices), num_workers=0)
    return batch


def evaluation_batches(
    images: ImageSet,
    indices: Sequence[int] | np.ndarray,
    image_size: int,
    batch_size: int = 256,
    num_workers: int | None = None,
    device: torch.device = CPU,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images (B, 3, S, S) and labels (B,), on a device, in order, without augmentation; unreadable images are left out.

    The last batch may be smaller, and so is a batch with unreadable images. DataError where no image can be read.
    """
    samples = [(0, int(index)) for index in indices]
    batches = (samples[start : start + batch_size] for start in range(0, len(samples), batch_size))
    workers = default_workers(image_size, device) if num_workers is None else num_workers
    small = image_size <= SMALL_SIZE
    least_side = None if small else math.ceil(REDUCING_GAP * image_size / CENTRE)
    loader = ImageLoader(images, _evaluation_transform(image_size), least_side)
    is_empty = True
    for loaded in loader.batches(batches, workers, pinned=device.type == "cuda"):
        if len(loaded.labels_B):
            is_empty = False
            yield normalised(loaded.pixels_BCHW.to(device, non_blocking=True)), loaded.labels_B.to(device, non_blocking=True)
    if is_empty and samples:
        raise DataError(f"{images.source}: got none of {len(samples)} images to evaluate on that can be read")


# timm is imported inside functions: the import takes seconds, and a dry run needs none of it.


def _training_transform(augmentation: Augmentation, image_size: int) -> Any:
    from timm.data import create_transform

    small = image_size <= SMALL_SIZE
    return create_transform(
        image_size,
        is_training=True,
        scale=(augmentation.min_area, 1.0),
        hflip=0.5 if augmentation.mirror else 0.0,
        color_jitter=(augmentation.color_jitter,) * 3 if augmentation.color_jitter else None,  # type: ignore[arg-type]
        auto_augment=augmentation.auto_augment,
        interpolation="bilinear" if small else "random",
        normalize=False,
    )


def _evaluation_transform(image_size: int) -> Any:
    from timm.data import create_transform

    steps = preprocessing_at(image_size)
    return create_transform(image_size, is_training=False, crop_pct=steps.crop_pct, interpolation=steps.interpolation, normalize=False)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, total: int) -> np.ndarray:
    return np.random.default_rng(seed_of("order", seed, epoch)).permutation(total)
