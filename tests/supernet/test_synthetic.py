"""Drawn images: the same for everyone, and no easier than their tasks say."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from supernet.data import synthetic
from supernet.data.batches import Augmentation, Batches, fixed_batch
from supernet.data.embedded import EMBEDDED
from supernet.data.images import open_images, open_test_images

GOLDEN = "8fb60f97a3e620d1"
"""Of two images a class."""


def test_the_same_seed_draws_the_same_images() -> None:
    images, labels = synthetic.draw(tuple(synthetic.TASKS), 2)
    assert images.shape == (2 * 16, 32, 32, 3)
    assert images.dtype == np.uint8
    assert labels.tolist() == [*range(16)] * 2
    assert hashlib.sha256(images.tobytes()).hexdigest()[:16] == GOLDEN
    assert not (synthetic.draw(tuple(synthetic.TASKS), 2, seed=1)[0] == images).all()


@pytest.mark.parametrize("place", range(len(synthetic.TASKS)))
def test_a_task_alone_is_the_task_among_others(place: int) -> None:
    alone, labels = synthetic.draw((list(synthetic.TASKS)[place],), 3)
    together, _ = synthetic.draw(tuple(synthetic.TASKS), 3)
    assert labels.tolist() == [0, 1, 2, 3] * 3
    assert (together.reshape(3, 4, 4, 32, 32, 3)[:, place] == alone.reshape(3, 4, 32, 32, 3)).all()


@pytest.mark.parametrize("task", synthetic.TASKS)
def test_neither_mean_nor_contrast_tells_the_class(task: str) -> None:
    images, labels = synthetic.draw((task,), 100)
    for of_image in (images.mean(axis=(1, 2)), images.reshape(len(images), -1).std(axis=1)[:, None]):
        by_class = np.stack([of_image[labels == label] for label in range(4)])
        means, stderr = by_class.mean(axis=1), by_class.std(axis=1).max() / 10
        assert np.ptp(means, axis=0).max() < 5 * stderr + 0.3


def test_counted_squares_are_all_there() -> None:
    drawn = synthetic.counts(np.array([0, 1, 2, 3] * 10), np.random.default_rng(0))[..., 0]
    for image, label in zip(drawn, [0, 1, 2, 3] * 10, strict=True):
        levels = np.unique(image[image != synthetic.GREY])
        assert len(levels) == label + 1
        for level in levels:
            rows, columns = np.nonzero(image == level)
            assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1) >= 4


def test_patches_differ_by_the_label() -> None:
    labels = np.array([0, 1, 2, 3] * 8)
    drawn = synthetic.pairs(labels, np.random.default_rng(0))
    hues = synthetic.HUES.tolist()
    for image, label in zip(drawn, labels, strict=True):
        left, right = (
            next(hues.index(pixel) for pixel in part.reshape(-1, 3).tolist() if pixel in hues) for part in (image[:, :8], image[:, 24:])
        )
        assert (right - left) % 4 == label


@pytest.mark.parametrize("name", [name for name in EMBEDDED if name.startswith("synthetic")])
def test_synthetic_sets_are_opened_by_name(name: str) -> None:
    images = open_images(name)
    test = open_test_images(name, None, images.class_names)
    assert test is not None
    assert len(images) + len(test) == synthetic.IMAGES_A_CLASS * images.num_classes
    for part in (images, test):
        counts = np.bincount(part.labels)
        assert len(counts) == images.num_classes == len(set(images.class_names))
        assert np.ptp(counts) == 0
    assert not set(images.rows) & set(test.rows)
    assert images.default_image_size() == 32


def test_what_is_counted_is_not_cropped() -> None:
    images = open_images("synthetic/counts")
    ((pixels, _),) = Batches(images, np.array([3]), 4, 32, 0, Augmentation()).stream(0, 1)
    whole, _ = fixed_batch(images, [3], 32)
    assert (pixels - whole).abs().max() < 1e-6
