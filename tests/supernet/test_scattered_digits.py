"""Scenes of digits: their label is that of the largest one, and the same seed gives the same scenes."""

from __future__ import annotations

import numpy as np
import pytest

from supernet.data import scattered_digits
from supernet.data.images import open_images, open_test_images
from supernet.data.scattered_digits import DISTRACTOR, GREY, LARGEST, MAX_DISTRACTORS, SIDE

SOLID = np.stack([np.zeros((8, 8), np.uint8), np.full((8, 8), 255, np.uint8)])
"""An invisible digit of value 0, and a solid square of value 1."""


@pytest.mark.parametrize("seed", range(5))
def test_the_label_is_that_of_the_largest_digit(seed: int) -> None:
    scenes, labels = scattered_digits.scatter(SOLID, np.array([0, 1]), 40, seed)
    visible = (np.abs(scenes - GREY) > 50).sum((1, 2))
    assert labels.tolist() == [0, 1] * 20
    assert (visible[labels == 1] > 0.9 * LARGEST[0] ** 2).all()
    assert (visible[labels == 0] <= 1.1 * MAX_DISTRACTORS * DISTRACTOR[1] ** 2).all()
    # Some scenes have distractors, some have none.
    assert {bool(count) for count in visible[labels == 0] > 20} == {True, False}


def test_the_same_seed_gives_the_same_scenes() -> None:
    first, again, other = (scattered_digits.scatter(SOLID, np.array([0, 1]), 6, seed)[0] for seed in (0, 0, 1))
    assert (first == again).all()
    assert not (first == other).all()


def test_they_are_opened_by_name_and_are_not_mirrored_or_cropped() -> None:
    images = open_images("scattered-digits")
    test = open_test_images("scattered-digits", None, images.class_names)
    assert images.default_image_size() == SIDE
    assert images.class_names == test.class_names == tuple("0123456789")
    assert len(set(images.images_by_class.values())) == 1
    assert not images.mirror
    assert not images.crop
