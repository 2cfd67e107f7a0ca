"""Scenes of handwritten digits of several sizes at random places. The label is the value of the largest one.

A network has to recognise a digit anywhere in the image, and to tell by its size that it is not one of the distractors. Scenes are
64x64 grey, so that a network of stride 32 still has maps of 16, 8, 4 and 2 pixels a side. The same digits and seed give the same scenes.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

SIDE = 64
LARGEST = (36, 48)
"""Least and greatest side of the largest digit, in pixels."""
DISTRACTOR = (8, 16)
"""The same for the others."""
MAX_DISTRACTORS = 2
ATTEMPTS = 20
"""Places drawn for a distractor until one overlaps no other digit; it is left out if none does."""
GREY, CONTRAST = 128.0, (80.0, 120.0)
"""The background's level, and the least and greatest difference of a digit's from it."""
BLOTCHES, NOISE = 12.0, 8.0
"""Standard deviations of the background's slow changes, and of each pixel's noise."""
BLOTCH = 8
"""Pixels over which the background changes."""


def scatter(digits: np.ndarray, values: np.ndarray, num_scenes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scenes (num_scenes, 64, 64) uint8 and the values of their largest digits, which take turns.

    Args:
        digits: (N, 8, 8) uint8, the digits to place.
        values: (N,), their values.
    """
    rng = np.random.default_rng(seed)
    labels = np.resize(np.unique(values), num_scenes)
    members = {value: np.flatnonzero(values == value) for value in np.unique(values)}
    scenes = [_scene(digits[rng.choice(members[label])], digits, rng) for label in labels]
    return np.stack(scenes), labels


def _scene(largest: np.ndarray, digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    scene = GREY + BLOTCHES * _smooth_noise(rng) + rng.normal(0, NOISE, (SIDE, SIDE))
    # All are brighter than the background, or all darker: their grey does not tell which one is the largest.
    sign = rng.choice((-1, 1))
    free = np.ones((SIDE, SIDE), dtype=bool)
    distractors = digits[rng.integers(len(digits), size=rng.integers(MAX_DISTRACTORS + 1))]
    for digit, sides in ((largest, LARGEST), *((digit, DISTRACTOR) for digit in distractors)):
        side = int(rng.integers(sides[0], sides[1] + 1))
        for row, column in rng.integers(0, SIDE - side + 1, size=(ATTEMPTS, 2)):
            box = np.s_[row : row + side, column : column + side]
            if free[box].all():
                scene[box] += sign * rng.uniform(*CONTRAST) * _resized(digit / 255, side)
                free[box] = False
                break
    return np.clip(np.round(scene), 0, 255).astype(np.uint8)


def _smooth_noise(rng: np.random.Generator) -> np.ndarray:
    noise = _resized(rng.normal(size=(SIDE // BLOTCH, SIDE // BLOTCH)), SIDE)
    return (noise - noise.mean()) / noise.std()


def _resized(values: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC))
