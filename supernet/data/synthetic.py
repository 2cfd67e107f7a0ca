"""Synthetic images for four tasks, each of which needs what one kind of token mixer does.

- `texture`: in which direction neighbouring pixels are correlated. Local convolutions suffice.
- `pairs`: how many hues a patch at the left is from one at the right, with distractors between them. Needs a global receptive field.
- `counts`: how many squares there are, of any size and the same total area. Needs several scales.
- `channels`: which colour channels are correlated. Needs attention over channels, and no position.

How far they tell mixers apart is measured in experiments/results/synthetic.md. Images are 32x32, in noise; the same seed gives the same
ones. Classes of a task do not differ in mean brightness or colour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SIDE = 32
IMAGES_A_CLASS = 750
NOISE = 18.0
"""Standard deviation of the grey values' noise."""
HUES = np.array([(200, 60, 60), (60, 170, 60), (70, 90, 220), (190, 170, 40)], dtype=np.float64)
"""Colours of patches: (4, 3)."""
PATCH = 7
AREAS = (24, 150)
"""Least and greatest number of pixels of all squares together, whatever their number."""
LEAST_AREA = 4
CORRELATION = 0.6
GREY, CONTRAST = 128.0, 40.0

Draw = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Images (N, 32, 32, 3) in float of labels (N,)."""


@dataclass(frozen=True)
class SyntheticTask:
    """A classification task, and how images of its labels are made."""

    class_names: tuple[str, ...]
    draw: Draw


def texture(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise in which every pixel is correlated with its neighbour in one direction, which is the label."""
    grey = rng.normal(size=(len(labels), SIDE + 1, SIDE + 2))
    steps = np.array([(0, 1), (1, 0), (1, 1), (1, -1)])[labels]
    rows, columns = np.arange(SIDE)[None, :, None], np.arange(1, SIDE + 1)[None, None, :]
    image = np.arange(len(labels))[:, None, None]
    down, right = steps[:, 0, None, None], steps[:, 1, None, None]
    mixed = (grey[image, rows, columns] + grey[image, rows + down, columns + right]) / np.sqrt(2)
    return np.repeat(GREY + CONTRAST * mixed[..., None], 3, axis=-1)


def pairs(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A patch at either side, whose hues differ by the label in a circle of four, and two patches of random hues between them."""
    images = np.full((len(labels), SIDE, SIDE, 3), GREY)
    num = len(HUES)
    left = rng.integers(num, size=len(labels))
    colours = np.stack([left, *rng.integers(num, size=(2, len(labels))), (left + labels) % num])
    for place, column in enumerate((1, 9, 16, 24)):
        rows = rng.integers(1, SIDE - PATCH, size=len(labels))
        for i, row in enumerate(rows):
            images[i, row : row + PATCH, column : column + PATCH] = HUES[colours[place, i]]
    return images


def counts(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One to four separate squares of any size and brightness; their total area does not depend on their number."""
    images = np.full((len(labels), SIDE, SIDE, 3), GREY)
    # Each square lies in its own quarter of the image, so that none touch.
    half = SIDE // 2
    for i, label in enumerate(labels):
        num = int(label) + 1
        shares = rng.dirichlet(np.ones(num))
        areas = LEAST_AREA + shares * (rng.uniform(*AREAS) - num * LEAST_AREA)
        for area, quarter in zip(areas, rng.permutation(4)[:num], strict=True):
            side = round(float(area) ** 0.5)
            row, column = rng.integers(1, half - side, size=2) + half * np.array(divmod(int(quarter), 2))
            # Equally often darker and brighter, so that the mean says nothing about the number.
            images[i, row : row + side, column : column + side] += rng.choice((-1, 1)) * rng.uniform(60, 100)
    return images


def channels(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise in three channels, of which two are correlated, or none."""
    noise = rng.normal(size=(len(labels), SIDE, SIDE, 3))
    first, second = np.array([(0, 1), (0, 1), (0, 2), (1, 2)])[labels].T
    weight = np.where(labels == 0, 0.0, CORRELATION)[:, None, None]
    image = np.arange(len(labels))
    mixed = weight * noise[image, ..., first] + np.sqrt(1 - weight**2) * noise[image, ..., second]
    noise[image, ..., second] = mixed
    return GREY + CONTRAST * noise


TASKS: Mapping[str, SyntheticTask] = {
    "texture": SyntheticTask(("across", "down", "falling", "rising"), texture),
    "pairs": SyntheticTask(("same", "one apart", "two apart", "three apart"), pairs),
    "counts": SyntheticTask(("one", "two", "three", "four"), counts),
    "channels": SyntheticTask(("none", "red and green", "red and blue", "green and blue"), channels),
}


def draw(tasks: Sequence[str], images_a_class: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images of some tasks, (N, 32, 32, 3) uint8, and labels (N,), which number the classes task by task and alternate.

    The images of a task depend only on the seed and the number of images, not on the other tasks.
    """
    num_classes = [len(TASKS[task].class_names) for task in tasks]
    images = np.empty((images_a_class, sum(num_classes), SIDE, SIDE, 3), dtype=np.uint8)
    first = 0
    for task, num in zip(tasks, num_classes, strict=True):
        rng = np.random.default_rng([seed, list(TASKS).index(task)])
        labels = np.tile(np.arange(num), images_a_class)
        drawn = TASKS[task].draw(labels, rng)
        drawn += rng.normal(0, NOISE, drawn.shape)
        images[:, first : first + num] = np.clip(np.round(drawn), 0, 255).reshape(images_a_class, num, SIDE, SIDE, 3)
        first += num
    return images.reshape(-1, SIDE, SIDE, 3), np.tile(np.arange(first), images_a_class)
