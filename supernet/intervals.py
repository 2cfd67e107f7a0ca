"""Accuracies with their intervals, and what they were measured on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev
from typing import Any

from supernet.accuracy import Score

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Accuracy:
    """A share of images that are told rightly, with a 95 % interval.

    Args:
        num_images: None where that is not known.
        num_seeds: trainings that it is the mean of. Of several the interval is over these (Student's), of one over images (Wilson's).
    """

    share: float
    low: float
    high: float
    num_images: int | None
    num_seeds: int = 1


def over_images(share: float, num_images: int) -> Accuracy:
    """One network's accuracy."""
    interval = _stats().binomtest(round(share * num_images), num_images).proportion_ci(CONFIDENCE, method="wilson")
    return Accuracy(share, float(interval.low), float(interval.high), num_images)


def of_score(score: Score) -> Accuracy:
    """That of an evaluation."""
    return over_images(score.accuracy, score.num_images)


def over_seeds(shares: Sequence[float], num_images: int | None) -> Accuracy | None:
    """The mean of several trainings; None of one alone on images that nobody counted."""
    middle = mean(shares)
    if len(shares) == 1:
        return None if num_images is None else over_images(middle, num_images)
    reach = float(_stats().t.ppf((1 + CONFIDENCE) / 2, len(shares) - 1)) * stdev(shares) / sqrt(len(shares))
    return Accuracy(middle, max(0.0, middle - reach), min(1.0, middle + reach), num_images, len(shares))


def difference_over_seeds(shares: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """The interval of the mean of others less that of some trainings (Welch's); not finite where neither varies."""
    with warnings.catch_warnings():
        # Seeds that agree to the last image are no mistake.
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = _stats().ttest_ind(others, shares, equal_var=False).confidence_interval(CONFIDENCE)
    return float(interval.low), float(interval.high)


def _stats() -> Any:
    # Imported late: it takes a second, which what only asks for a plan need not wait for.
    from scipy import stats

    return stats
