"""Made-up scenes with masks, drawn in a second: shapes on textured backgrounds, the same ones for the same seed.

A scene of 96x96 pixels has a sky above a ground, and on them some discs, squares and bars of random sizes, of which nearer ones hide
farther ones. Every class has a hue and a texture of its own, but brightness varies from scene to scene. A thin line between any two
classes has no class, as the borders in hand-made masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from supernet.data.target_options import VOID

SIDE = 96
NUM_SCENES = 260
IN_TEST = 60
"""The last ones are the test part."""
CLASS_NAMES = ("sky", "ground", "disc", "square", "bar")
COLOURS = np.array([(120, 160, 210), (110, 120, 80), (200, 90, 80), (90, 80, 160), (200, 180, 70)], dtype=np.float64)
NOISE = (4.0, 18.0, 10.0, 10.0, 14.0)
"""Standard deviations of the grey values inside the classes."""
MOST_SHAPES = 5
SIZES = (0.06, 0.2)
"""Half of a shape's extent, as a share of the side."""


@dataclass(frozen=True, eq=False)
class Scenes:
    """Pixels (N, 96, 96, 3) uint8 and masks (N, 96, 96) uint8."""

    pixels: np.ndarray
    masks: np.ndarray


def draw_scenes(count: int = NUM_SCENES, seed: int = 0) -> Scenes:
    """Draw some scenes; a scene depends on the seed and its own number."""
    drawn = [_draw(np.random.default_rng([seed, number])) for number in range(count)]
    return Scenes(np.stack([pixels for pixels, _ in drawn]), np.stack([mask for _, mask in drawn]))


def _draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    horizon = rng.uniform(0.3, 0.6) + rng.uniform(-0.15, 0.15) * (columns - 0.5)
    mask = (rows > horizon).astype(np.uint8)
    for _ in range(rng.integers(1, MOST_SHAPES + 1)):
        kind, (down, right) = rng.integers(2, len(CLASS_NAMES)), rng.uniform(0.1, 0.9, 2)
        size = rng.uniform(*SIZES)
        across, along = np.abs(rows - down), np.abs(columns - right)
        inside = {
            2: across**2 + along**2 < size**2,
            3: np.maximum(across, along) < size,
            4: (across < 1.6 * size) & (along < 0.35 * size),
        }[int(kind)]
        mask[inside] = kind
    noise = rng.normal(size=(SIDE, SIDE)) * np.take(NOISE, mask)
    # The ground has rows, the discs have rings: a pixel alone tells little.
    waves = 12 * np.sin(60 * rows) * (mask == 1) + 15 * np.sin(40 * (rows + columns)) * (mask == 2)
    levels = COLOURS[mask] * rng.uniform(0.7, 1.2) + rng.normal(0, 12, 3) + (noise + waves)[..., None]
    return np.clip(np.round(levels), 0, 255).astype(np.uint8), _with_borders(mask)


def _with_borders(mask: np.ndarray) -> np.ndarray:
    """The mask without a class where the pixel to the right or below has another one."""
    border = np.zeros_like(mask, dtype=bool)
    border[:-1] |= mask[:-1] != mask[1:]
    border[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    return np.where(border, np.uint8(VOID), mask)
