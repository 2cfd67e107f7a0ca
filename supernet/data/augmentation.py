"""Random crops, mirroring, colours and erasing of whole batches, on the device that holds the images.

The random numbers of a batch come from the seed and the step, on the CPU, so that they are the same on every device and for any rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from supernet.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from supernet.seeding import seed_of

ATTEMPTS = 10
"""Boxes drawn until one lies inside the image."""
CROP_RATIOS = (3 / 4, 4 / 3)
ERASED_AREAS, ERASED_RATIOS = (0.02, 1 / 3), (0.3, 1 / 0.3)
_BOX_NUMBERS = 2 * ATTEMPTS + 2
_CROP, _ERASED, _COLOUR, _OTHERS = slice(0, 22), slice(22, 44), slice(44, 47), slice(47, 49)
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images. The defaults suit small images.

    Args:
        min_area: the smallest share of an image's area that a random crop keeps; 1 where `ImageSet.crop` forbids crops.
        mirror: whether to mirror half of the images; never where `ImageSet.mirror` forbids it.
        color_jitter: greatest relative change of brightness, contrast and saturation.
        auto_augment: a policy of timm's, such as `rand-m9-mstd0.5-mmax9-inc1`; None for no policy.
        erase: probability of random erasing (Zhong et al., 2017).
    """

    min_area: float = 0.6
    mirror: bool = True
    color_jitter: float = 0.0
    auto_augment: str | None = None
    erase: float = 0.0

    def uniforms(self, seed: int, step: int, batch_size: int) -> np.ndarray:
        """The random numbers of a step's batch: (B, 49) in [0, 1)."""
        return np.random.default_rng(seed_of("augment", seed, step)).random((batch_size, _OTHERS.stop))

    def changes(self, uniforms: np.ndarray, sizes_B2: np.ndarray) -> np.ndarray:
        """What `resized_crops` and `recoloured` do to images of some heights and widths: (B, 8) float32.

        The columns are top, left, height and width of the crop, mirrored or not, and the factors of brightness, contrast and saturation.
        """
        starts, sides, found = _boxes(uniforms[:, _CROP], sizes_B2, (self.min_area, 1.0), CROP_RATIOS)
        # As torchvision does: the largest box in the middle whose ratio is allowed.
        largest = np.minimum(sizes_B2, np.round(sizes_B2[:, ::-1] * CROP_RATIOS[1]))
        sides = np.where(found[:, None], sides, largest)
        starts = np.where(found[:, None], starts, (sizes_B2 - largest) // 2)
        mirrored = (uniforms[:, _OTHERS][:, :1] < 0.5) & self.mirror
        factors = 1 + self.color_jitter * (2 * uniforms[:, _COLOUR] - 1)
        return np.concatenate([starts, sides, mirrored, factors], 1, dtype=np.float32)

    def erased(self, uniforms: np.ndarray, size: int) -> np.ndarray:
        """Boxes to erase of images of a side, (B, 4) float32: top, left, height, width; of no height where nothing is erased."""
        sizes_B2 = np.full((len(uniforms), 2), size)
        starts, sides, found = _boxes(uniforms[:, _ERASED], sizes_B2, ERASED_AREAS, ERASED_RATIOS)
        chosen = found & (uniforms[:, _OTHERS][:, 1] < self.erase)
        return np.concatenate([starts, sides * chosen[:, None]], 1, dtype=np.float32)


MILD = Augmentation()
"""For small images."""


def resized_crops(pixels_BCHW: Tensor, changes: Tensor, size: int) -> Tensor:
    """Crop images, resize the crops by antialiased bilinear interpolation, and mirror them.

    Args:
        pixels_BCHW: of any levels from 0 to 255.
        changes: (B, 8), on the same device, see `Augmentation.changes`.

    Returns:
        Levels (B, 3, size, size), float32.
    """
    top, left, height, width, mirrored = changes[:, :5, None, None].unbind(1)
    _, channels, rows, columns = pixels_BCHW.shape
    # Resizing is linear in either direction, so a batch of crops of all sizes is two matrix products.
    across_BWS = _resampling(left, width, columns, size, mirrored).mT
    images = (pixels_BCHW.float().flatten(1, 2) @ across_BWS).unflatten(1, (channels, rows))
    return _resampling(top, height, rows, size, torch.zeros_like(mirrored))[:, None] @ images


def recoloured(levels_BCHW: Tensor, changes: Tensor) -> Tensor:
    """Images with other brightness, contrast and saturation, in this order; `changes` as in `resized_crops`."""
    brightness, contrast, saturation = changes[:, 5:, None, None, None].unbind(1)
    levels = (levels_BCHW * brightness).clamp(0, 255)
    levels = _grey(levels).mean((2, 3), keepdim=True).lerp(levels, contrast).clamp(0, 255)
    return _grey(levels).lerp(levels, saturation).clamp(0, 255)


def normalised(levels_BCHW: Tensor) -> Tensor:
    """Levels from 0 to 255 as float32, normalised by ImageNet's mean and standard deviation."""
    mean, std = _moments(levels_BCHW.device)
    return levels_BCHW.float().div(255).sub_(mean).div_(std)


def erase(images_BCHW: Tensor, boxes: Tensor, noise_BCHW: Tensor) -> Tensor:
    """Normalised images with noise in some boxes, (B, 4), see `Augmentation.erased`."""
    top, left, height, width = boxes.view(-1, 4, 1, 1).unbind(1)
    places = torch.arange(images_BCHW.shape[-1], device=images_BCHW.device)
    rows, columns = places[:, None], places[None]
    inside = (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    return torch.where(inside[:, None], noise_BCHW, images_BCHW)


def noise(seed: int, step: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Standard normal numbers of a step, which differ from one type of device to another."""
    return torch.randn(shape, device=device, generator=torch.Generator(device).manual_seed(seed_of("erase", seed, step)))


def _boxes(
    uniforms: np.ndarray, sizes_B2: np.ndarray, areas: tuple[float, float], ratios: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random boxes: where they start and their sides, (B, 2) each, row first, and in which images one was found, (B,).

    Args:
        uniforms: (B, 22).
        areas: the least and greatest share of an image's area.
        ratios: the least and greatest width to height.
    """
    attempts = uniforms[:, : 2 * ATTEMPTS].reshape(-1, ATTEMPTS, 2)
    area = sizes_B2.prod(1)[:, None] * (areas[0] + (areas[1] - areas[0]) * attempts[..., 0])
    low, high = map(math.log, ratios)
    ratio = np.exp(low + (high - low) * attempts[..., 1])
    sides = np.round(np.sqrt(np.stack([area / ratio, area * ratio], -1)))
    fits = ((sides >= 1) & (sides <= sizes_B2[:, None])).all(-1)
    first = sides[np.arange(len(sides)), fits.argmax(1)]
    starts = np.floor(uniforms[:, 2 * ATTEMPTS :] * (sizes_B2 - first + 1))
    return starts, first, fits.any(1)


def _resampling(start: Tensor, length: Tensor, extent: int, size: int, mirrored: Tensor) -> Tensor:
    """Matrices (B, size, extent) that resize `length` pixels from `start` on, all (B, 1, 1), as Pillow's bilinear filter does."""
    scale = length / size
    output = torch.arange(size, device=start.device).view(1, -1, 1) + 0.5
    centre = start + scale * torch.where(mirrored > 0, size - output, output)
    pixel = torch.arange(extent, device=start.device).view(1, 1, -1) + 0.5
    weights = (1 - (pixel - centre).abs() / scale.clamp_min(1)).clamp_min(0)
    weights = weights * ((pixel > start) & (pixel < start + length))
    return weights / weights.sum(-1, keepdim=True)


def _grey(levels_BCHW: Tensor) -> Tensor:
    return sum(share * channel for share, channel in zip(_LUMA, levels_BCHW.split(1, 1), strict=True))


@lru_cache(maxsize=4)
def _moments(device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.tensor(IMAGENET_MEAN, device=device).view(3, 1, 1), torch.tensor(IMAGENET_STD, device=device).view(3, 1, 1)
