"""Image sets that come with the package and need no download."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from supernet.data import scattered_digits, synthetic

SCENES, TEST_SCENES = 3000, 1000
"""Of scattered digits: no digit of a test scene is in a training scene."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """A set in memory.

    Args:
        class_names: in order of their labels.
        pixels: (N, H, W) or (N, H, W, 3) uint8.
        labels: (N,) int64.
        in_test: (N,) bool, which images are the test part.
        crop: as in `supernet.data.image_set.ImageSet`.
    """

    class_names: tuple[str, ...]
    pixels: np.ndarray
    labels: np.ndarray
    in_test: np.ndarray
    crop: bool


def digits() -> Embedded:
    """The test part of the UCI set "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, CC BY 4.0), as in scikit-learn.

    The package keeps its own copy, because importing scikit-learn doubles the time of a dry run.
    """
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as file:
        labels, greys = file["labels"].astype(np.int64), file["images"]
    in_test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        in_test[members[-len(members) // 5 :]] = True
    # The grey values are 0 to 16.
    return Embedded(tuple("0123456789"), np.round(greys * (255 / 16)).astype(np.uint8), labels, in_test, crop=True)


def _scattered_digits() -> Embedded:
    single = digits()
    parts = [
        scattered_digits.scatter(single.pixels[members], single.labels[members], count, seed)
        for seed, (members, count) in enumerate(((~single.in_test, SCENES), (single.in_test, TEST_SCENES)))
    ]
    scenes, labels = (np.concatenate(of_parts) for of_parts in zip(*parts, strict=True))
    return Embedded(single.class_names, scenes, labels, np.arange(len(labels)) >= SCENES, crop=False)


def _synthetic(*tasks: str) -> Embedded:
    pixels, labels = synthetic.draw(tasks, synthetic.IMAGES_A_CLASS)
    names = tuple(f"{task}: {name}" for task in tasks for name in synthetic.TASKS[task].class_names)
    # The classes alternate, so the last fifth holds equally many images of each.
    in_test = np.arange(len(labels)) >= len(labels) * 4 // 5
    return Embedded(names, pixels, labels, in_test, crop=False)


EMBEDDED: Mapping[str, Callable[[], Embedded]] = {
    "digits": digits,
    "scattered-digits": _scattered_digits,
    "synthetic": partial(_synthetic, *synthetic.TASKS),
    **{f"synthetic/{task}": partial(_synthetic, task) for task in synthetic.TASKS},
}
