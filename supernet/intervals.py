"""Accuracies with confidence intervals, over images or over seeds."""

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
    """A share of correctly classified images, with its 95 % interval.

    Args:
        num_images: None where it is unknown.
        num_seeds: trainings averaged. The interval of several is over seeds (Student's), of one over images (Wilson's).
    """

    share: float
    low: float
    high: float
    num_images: int | None
    num_seeds: int = 1


def over_images(share: float, num_images: int) -> Accuracy:
    """The accuracy of one network."""
    interval = _stats().binomtest(round(share * num_images), num_images).proportion_ci(CONFIDENCE, method="wilson")
    return Accuracy(share, float(interval.low), float(interval.high), num_images)


def of_score(score: Score) -> Accuracy:
    """The accuracy of an evaluation."""
    return over_images(score.accuracy, score.num_images)


def over_seeds(shares: Sequence[float], num_images: int | None) -> Accuracy | None:
    """The mean accuracy of several trainings; None for one training on an unknown number of images."""
    middle = mean(shares)
    if len(shares) == 1:
        return None if num_images is None else over_images(middle, num_images)
    half_width = float(_stats().t.ppf((1 + CONFIDENCE) / 2, len(shares) - 1)) * stdev(shares) / sqrt(len(shares))
    return Accuracy(middle, max(0.0, middle - half_width), min(1.0, middle + half_width), num_images, len(shares))


def difference_over_seeds(shares: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """The interval of the difference of two means, that of `others` less that of `shares` (Welch's); not finite where neither varies."""
    with warnings.catch_warnings():
        # Equal accuracies of all seeds are no mistake.
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = _stats().ttest_ind(others, shares, equal_var=False).confidence_interval(CONFIDENCE)
    return float(interval.low), float(interval.high)


def _stats() -> Any:
    # Imported here: it takes a second, which plans do not need.
    from scipy import stats

    return stats
