"""How images become tensors for evaluation: resized, cropped, scaled to 0 to 1, normalised."""

from __future__ import annotations

from dataclasses import dataclass

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMALL_SIZE = 64
"""Images up to this side, in pixels, are evaluated without a centre crop and loaded without worker processes on a CPU."""
CENTRE = 0.9
"""The share of a larger image's side that evaluation keeps."""


@dataclass(frozen=True)
class Preprocessing:
    """Steps from an upright RGB image to a tensor, named as in timm's configurations.

    Args:
        image_size: side in pixels of the square image. The shorter side is resized to `image_size / crop_pct`, then the centre is kept.
        mean, std: subtracted from the channels, values from 0 to 1, and what they are then divided by.
    """

    image_size: int
    crop_pct: float
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


def preprocessing_at(image_size: int) -> Preprocessing:
    """How images are evaluated at a size."""
    return Preprocessing(image_size, 1.0 if image_size <= SMALL_SIZE else CENTRE)
