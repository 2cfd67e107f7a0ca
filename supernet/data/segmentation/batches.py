"""Batches of images and masks: the stream of training batches, and whole images to judge on.

Targets are classes (B, H, W) uint8, 255 where there is none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from supernet.data.augmentation import normalised
from supernet.data.batches import REDUCING_GAP, TrainingBatches
from supernet.data.image_set import ImageSet
from supernet.data.kept_images import kept_images, on_device
from supernet.data.loading import CPU, ImageLoader, Loaded, default_workers
from supernet.data.preprocessing import IMAGENET_MEAN
from supernet.data.segmentation.augmentation import SceneAugmentation, augmented, scale_to
from supernet.data.segmentation.masked_images import MaskedImages
from supernet.data.unreadable import DataError

STRIDE = 32
"""Sides of images that are judged are multiples of it; what is padded has the mean colour and no class."""


@dataclass(frozen=True, eq=False)
class SceneBatches(TrainingBatches):
    """Training batches of square crops of images and the classes of their pixels (B, S, S)."""

    augmentation: SceneAugmentation

    def _batches(self, steps: range, rows: np.ndarray, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        for step, (scenes_B4HW, sizes_B2) in zip(steps, self._scenes(steps, rows, device), strict=True):
            changes = self.augmentation.changes(self.seed, step, sizes_B2, self.image_size, rows, self.batch_size)
            sizes, on = on_device(sizes_B2, device), on_device(changes, device)
            yield augmented(scenes_B4HW, sizes, on, self.image_size, self.augmentation.color_jitter > 0)

    def _scenes(self, steps: range, rows: np.ndarray, device: torch.device) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Images with their masks, kept on the device or loaded for each step, and their sizes."""
        kept = kept_images(self.images, self.indices, self._least_side, device, channels=4, max_pixels=math.inf)
        loader = SceneLoader(self.images, SceneTensor(kept.side if kept else None), self._least_side, part=self.indices)
        if kept is None:
            for loaded in self._loaded(loader, steps, rows, device):
                yield loaded.pixels_BCHW.to(device, non_blocking=True), loaded.sizes_B2
        else:
            for samples in self._kept(kept, loader, steps, rows):
                yield kept.batch(samples)[0], kept.sizes(samples)

    @property
    def _least_side(self) -> int:
        return math.ceil(REDUCING_GAP * self.image_size * max(1.0, self.augmentation.scales[1]))


@dataclass(frozen=True)
class SceneTensor:
    """A scene as tensor (4, H, W) uint8, no side larger than `side`, where that is given. It travels to worker processes."""

    side: int | None = None

    def __call__(self, scene: np.ndarray) -> Tensor:
        if self.side is not None and max(scene.shape[:2]) > self.side:
            scale = self.side / max(scene.shape[:2])
            size = tuple(max(1, round(side * scale)) for side in (scene.shape[1], scene.shape[0]))
            image = Image.fromarray(scene[..., :3]).resize(size, Image.Resampling.BILINEAR)
            mask = Image.fromarray(scene[..., 3]).resize(size, Image.Resampling.NEAREST)
            scene = np.dstack([np.asarray(image), np.asarray(mask)])
        return torch.from_numpy(np.ascontiguousarray(scene)).permute(2, 0, 1)


class SceneLoader(ImageLoader):
    """Loads images together with their masks."""

    _images: MaskedImages

    def _decoded(self, index: int) -> Any:
        return self._images.scene(index, self._least_side)


def scene_batches(
    images: ImageSet, indices: Sequence[int] | np.ndarray, image_size: int, batch_size: int, device: torch.device = CPU
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield whole images (B, 3, H, W) and their classes (B, H', W'), on a device, without augmentation.

    An image is resized so that its shorter side has `image_size` pixels, unless the longer one would have four times that; masks keep
    their own size. Before, both are padded at the right and at the bottom, so that the sides of the resized image are multiples of
    `STRIDE`. Images of one size make batches, in the order of the sizes; unreadable images are left out.

    Args:
        batch_size: at most.

    Raises:
        DataError: no image can be read, or a mask does not fit.
    """
    sizes = images.sizes_of(indices)
    ordered = sorted(sizes, key=lambda index: (sizes[index], index))
    of_one_size = [[(0, index) for index in group] for _, group in itertools.groupby(ordered, sizes.__getitem__)]
    groups = (group[start : start + batch_size] for group in of_one_size for start in range(0, len(group), batch_size))
    loader = SceneLoader(images, SceneTensor())
    is_empty = True
    for loaded in loader.batches(groups, default_workers(image_size, device), pinned=device.type == "cuda"):
        if loaded.indices:
            is_empty = False
            yield from _whole(loaded, image_size, device)
    if is_empty and len(indices):
        raise DataError(f"{images.source}: got none of {len(indices)} images to judge on that can be read")


def _whole(loaded: Loaded, image_size: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """The images of a batch at the size at which they are judged; of several sizes if some were turned upright."""
    scenes = loaded.pixels_BCHW.to(device, non_blocking=True)
    for size in np.unique(loaded.sizes_B2, axis=0):
        rows = np.flatnonzero((loaded.sizes_B2 == size).all(1))
        height, width = size.tolist()
        scale = float(scale_to(size[None], image_size)[0])
        target = [math.ceil(round(side * scale, 3) / STRIDE) * STRIDE for side in (height, width)]
        padded = [max(round(side / scale), own) for side, own in zip(target, (height, width), strict=True)]
        own = scenes[on_device(rows, device), :, :height, :width]
        levels = F.pad(own[:, :3].float() - _MEAN.to(device), (0, padded[1] - width, 0, padded[0] - height)) + _MEAN.to(device)
        classes = F.pad(own[:, 3], (0, padded[1] - width, 0, padded[0] - height)) - 1
        if [*levels.shape[2:]] != target:
            levels = F.interpolate(levels, target, mode="bilinear", antialias=True)
        yield normalised(levels), classes


_MEAN = 255 * torch.tensor(IMAGENET_MEAN).view(3, 1, 1)


