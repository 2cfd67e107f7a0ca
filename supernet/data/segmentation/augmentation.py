"""Random scales, crops, mirroring and colours of whole batches of images together with their masks, on the device that holds them.

The random numbers of a batch come from the seed and the step, on the CPU, as for images with classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from supernet.data.augmentation import normalised, recoloured
from supernet.data.preprocessing import IMAGENET_MEAN
from supernet.seeding import seed_of

MAX_STRETCH = 4
"""The longer side of an image is resized to so many times the shorter one's size at most, as ADE20K's recipes have it (2048 and 512)."""
_SCALE, _TOP, _LEFT, _MIRRORED, _COLOUR = 0, 1, 2, 3, slice(4, 7)


@dataclass(frozen=True)
class SceneAugmentation:
    """Random changes of training images and their masks.

    An image is scaled so that its shorter side is the crop's, times a random factor; then a random square is cropped. Where the scaled
    image is smaller than the square, the rest has the mean colour and no class.

    Args:
        scales: the least and the greatest factor.
        mirror: whether to mirror half of the images.
        color_jitter: greatest relative change of brightness, contrast and saturation.
    """

    scales: tuple[float, float] = (0.5, 2.0)
    mirror: bool = True
    color_jitter: float = 0.4

    def changes(self, seed: int, step: int, sizes_B2: np.ndarray, size: int, rows: np.ndarray, batch_size: int) -> np.ndarray:
        """What happens to some rows of a step's batch: (rows, 8) float32.

        The columns are top, left, height and width of the crop in pixels of the image, mirrored or not, and the factors of brightness,
        contrast and saturation.

        Args:
            sizes_B2: heights and widths of the rows' images.
            size: side of the crop.
        """
        uniforms = np.random.default_rng(seed_of("augment", seed, step)).random((batch_size, _COLOUR.stop))[rows]
        low, high = self.scales
        zoom = (low + (high - low) * uniforms[:, _SCALE]) * scale_to(sizes_B2, size)
        sides = np.repeat((size / zoom)[:, None], 2, 1)
        starts = uniforms[:, _TOP : _LEFT + 1] * np.maximum(sizes_B2 - sides, 0)
        mirrored = (uniforms[:, _MIRRORED : _MIRRORED + 1] < 0.5) & self.mirror
        factors = 1 + self.color_jitter * (2 * uniforms[:, _COLOUR] - 1)
        return np.concatenate([starts, sides, mirrored, factors], 1, dtype=np.float32)


def scale_to(sizes_B2: np.ndarray, size: int) -> np.ndarray:
    """By which factors (B,) images are resized: the shorter side to `size`, unless the longer one would become four times that."""
    return np.minimum(size / sizes_B2.min(1), MAX_STRETCH * size / sizes_B2.max(1))


def augmented(scenes_B4HW: Tensor, sizes_B2: Tensor, changes: Tensor, size: int, has_colours: bool) -> tuple[Tensor, Tensor]:
    """Crop, resize, mirror and colour images and their masks.

    Images are resized by antialiased bilinear interpolation, masks by the nearest pixel.

    Args:
        scenes_B4HW: uint8, as `MaskedImages.scene` has them, each at the top left of its place.
        sizes_B2: heights and widths of the images, on the same device.
        changes: (B, 8), on the same device, see `SceneAugmentation.changes`.
        has_colours: whether colours change.

    Returns:
        Normalised images (B, 3, size, size) and classes (B, size, size) uint8, 255 where there is none.
    """
    top, left, height, width, mirrored = changes[:, :5].unbind(1)
    _, _, rows, columns = scenes_B4HW.shape
    down, row = _resampling(top, height, sizes_B2[:, 0], rows, size, torch.zeros_like(mirrored))
    across, column = _resampling(left, width, sizes_B2[:, 1], columns, size, mirrored)
    levels = (scenes_B4HW[:, :3].float().flatten(1, 2) @ across.mT).unflatten(1, (3, rows))
    levels = down[:, None] @ levels
    inside = ((row < sizes_B2[:, :1])[:, None, :, None]) & ((column < sizes_B2[:, 1:])[:, None, None, :])
    mean = _mean_colour(levels.device)
    levels = torch.where(inside, levels, mean)
    if has_colours:
        levels = torch.where(inside, recoloured(levels, changes), mean)
    images = torch.arange(len(changes), device=changes.device)[:, None, None]
    kept = scenes_B4HW[images, 3, row.clamp_max(rows - 1)[:, :, None], column.clamp_max(columns - 1)[:, None, :]]
    # One less: no class, 0, becomes 255.
    return normalised(levels), torch.where(inside[:, 0], kept, 0) - 1


def _resampling(start: Tensor, length: Tensor, extent: Tensor, most: int, size: int, mirrored: Tensor) -> tuple[Tensor, Tensor]:
    """Along one axis: matrices (B, size, most) that resize `length` pixels from `start` on, and the nearest pixels (B, size).

    Args:
        extent: how many pixels the images have, (B,); what lies beyond has weight 0.
        most: how many pixels there is room for.
    """
    scale = (length / size)[:, None]
    output = torch.arange(size, device=start.device) + 0.5
    centre = start[:, None] + scale * torch.where(mirrored[:, None] > 0, size - output, output)
    pixel = torch.arange(most, device=start.device) + 0.5
    weights = (1 - (pixel - centre[..., None]).abs() / scale.clamp_min(1)[..., None]).clamp_min(0)
    weights = weights * (pixel < extent[:, None])[:, None]
    return weights / weights.sum(-1, keepdim=True).clamp_min(1e-6), centre.floor().long()


def _mean_colour(device: torch.device) -> Tensor:
    return 255 * torch.tensor(IMAGENET_MEAN, device=device).view(3, 1, 1)
