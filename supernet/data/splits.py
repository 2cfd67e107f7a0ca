"""The parts of a training part: images to train on, to judge subnets on, and to estimate batch statistics from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from supernet.data.image_set import ImageSet
from supernet.data.unreadable import DataError
from supernet.seeding import seed_of


@dataclass(frozen=True, eq=False)
class Splits:
    """Disjoint parts of a training part, as numbers of its images.

    Args:
        train: weights are trained on these.
        search: subnets are judged on these.
        calibration: batch statistics are estimated from these.
    """

    train: np.ndarray
    search: np.ndarray
    calibration: np.ndarray


def split(images: ImageSet, seed: int, num_search: int | None = None, num_calibration: int | None = None) -> Splits:
    """Split a training part, every class in proportion; the same seed gives the same parts.

    Args:
        num_search: 20 % of the images, 2000 at the most, unless told otherwise.
        num_calibration: 10 % of the images, 512 at the most, unless told otherwise.
    """
    total = len(images)
    num_search = min(total // 5, 2000) if num_search is None else num_search
    num_calibration = min(total // 10, 512) if num_calibration is None else num_calibration
    if num_search < 0 or num_calibration < 0 or 2 * (num_search + num_calibration) > total:
        taken = f"{num_search} images to search and {num_calibration} to calibrate with"
        raise DataError(f"{images.source}: got {taken}, expected at most half of its {total}")
    rng = np.random.default_rng(seed_of("split", seed))
    order = rng.permutation(total)
    # An image's rank among those of its class, as a fraction: any run of images sorted by it holds every class in
    # proportion. The last one of a class has 1, so that every class keeps an image to train with.
    rank = np.empty(total)
    for label in range(images.num_classes):
        members = order[images.labels[order] == label]
        rank[members] = np.arange(1, len(members) + 1) / max(len(members), 1)
    ranked = order[np.argsort(rank[order], kind="stable")]
    search, calibration, train = np.split(ranked, [num_search, num_search + num_calibration])
    return Splits(np.sort(train), np.sort(search), np.sort(calibration))


def cautions(images: ImageSet, splits: Splits) -> Iterator[str]:
    """What makes figures on the search images doubtful, a line each."""
    return images.cautions_on(splits.search)
