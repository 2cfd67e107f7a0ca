"""What the parts of a data set are called: the training part, and the test part, which no search reads."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

TRAIN, TEST, ALL = "train", "test", "all"
TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("val", "valid", "validation", "test", "testing", "eval")
"""Of several that a data set has, the first one is its test part."""


def rows_in_part(names: Sequence[str], part: str) -> np.ndarray | None:
    """Of files, arrays or rows with `train`, `val` or the like as words in their names: the numbers of those of a part.

    The training part is what is called so, or else all but the test part. None where there is no test part.
    """
    words = [set(re.split(r"[^a-z]+", name.lower())) for name in names]
    for word in {TRAIN: TRAIN_NAMES, TEST: TEST_NAMES, ALL: ()}[part]:
        if any(word in one for one in words):
            return np.flatnonzero([word in one for one in words])
    if part == TEST:
        return None
    return np.flatnonzero([part == ALL or not one & set(TEST_NAMES) for one in words])
