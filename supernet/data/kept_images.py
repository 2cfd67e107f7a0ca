"""Images that are decoded once and stay on the device as uint8, for sets that take a small share of its memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from supernet.data.image_set import CACHE_BYTES, SMALL_PIXELS, ImageSet
from supernet.data.loading import Loaded, Sample

MAX_SHARE_OF_DEVICE = 1 / 16
"""Several processes may share a GPU."""


class KeptImages:
    """The training images of a set on a device.

    Args:
        indices: numbers of the images in the set.
        side: of the space for one image, in pixels; larger images are to be reduced to it.
        channels: of the pixels; 4 of images with masks.
    """

    def __init__(self, images: ImageSet, indices: np.ndarray, side: int, device: torch.device, channels: int = 3) -> None:
        self.device = device
        self.side = side
        self.decoded = Decoded(side)
        self._row = np.full(len(images), -1)
        self._row[indices] = np.arange(len(indices))
        self._labels = torch.from_numpy(images.labels[indices]).to(device)
        self._pixels = torch.empty((len(indices), channels, side, side), dtype=torch.uint8, device=device)
        self._sizes = np.zeros((len(indices), 2), dtype=np.int64)

    @property
    def is_complete(self) -> bool:
        return bool(self._sizes.all())

    def missing(self, batches: Iterable[list[Sample]]) -> Iterator[list[Sample]]:
        """Of each batch the samples whose images are to be loaded before it, until all images are there."""
        wanted = self._sizes[:, 0] == 0
        for batch in batches:
            if not wanted.any():
                return
            needed = {self._row[index]: (number, index) for number, index in batch if wanted[self._row[index]]}
            wanted[list(needed)] = False
            yield list(needed.values())

    def add(self, loaded: Loaded) -> None:
        """Keep some images."""
        if loaded.indices:
            rows = self._row[loaded.indices]
            height, width = loaded.pixels_BCHW.shape[2:]
            pixels = loaded.pixels_BCHW.to(self.device, non_blocking=True)
            self._pixels[on_device(rows, self.device), :, :height, :width] = pixels
            self._sizes[rows] = loaded.sizes_B2

    def sizes(self, samples: list[Sample]) -> np.ndarray:
        """Heights and widths, (B, 2)."""
        return self._sizes[self._rows(samples)]

    def batch(self, samples: list[Sample]) -> tuple[Tensor, Tensor]:
        """Pixels (B, channels, side, side) uint8, of which each image fills the top left, and labels (B,)."""
        rows = on_device(self._rows(samples), self.device)
        return self._pixels[rows], self._labels[rows]

    def _rows(self, samples: list[Sample]) -> np.ndarray:
        return self._row[[index for _, index in samples]]


@dataclass(frozen=True)
class Decoded:
    """The pixels to keep of an image, (3, H, W) uint8, no side larger than `side`. It travels to worker processes."""

    side: int

    def __call__(self, image: Image.Image) -> Tensor:
        if max(image.size) > self.side:
            image.thumbnail((self.side, self.side), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def kept_images(
    images: ImageSet, indices: np.ndarray, least_side: int, device: torch.device, channels: int = 3, max_pixels: float = SMALL_PIXELS
) -> KeptImages | None:
    """The space for some images of a set on a device, with those in it that were loaded before; None where they take too much.

    Args:
        least_side: see `ImageSet.decode`.
        max_pixels: of the space for an image on a CPU. Worker processes with Pillow resize larger images faster than matrix products on
            the cores that train.
    """
    key = (device, least_side, indices.tobytes())
    if key not in images.kept:
        sizes = images.sampled_sizes()
        # Photos may be turned upright, so the space is square. A power of two is what decoding at a reduced size can save.
        side = max((-(-max(size) // _reduction(min(size), least_side)) for size in sizes), default=0)
        if not sizes or not _fits(len(indices), side, device, channels, max_pixels):
            return None
        images.kept.clear()
        images.kept[key] = KeptImages(images, indices, side, device, channels)
    return images.kept[key]


def on_device(values: np.ndarray, device: torch.device) -> Tensor:
    """An array as a tensor on a device; the copy does not wait for the device."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _reduction(side: int, least_side: int) -> int:
    return max(factor for factor in (1, 2, 4, 8) if factor == 1 or side >= factor * least_side)


def _fits(total: int, side: int, device: torch.device, channels: int, max_pixels: float) -> bool:
    total_bytes = channels * side**2 * total
    if device.type == "cuda":
        return total_bytes <= MAX_SHARE_OF_DEVICE * torch.cuda.get_device_properties(device).total_memory
    return side**2 <= max_pixels and total_bytes <= CACHE_BYTES
