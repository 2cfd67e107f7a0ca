"""Accuracies with their intervals, and what they were measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev

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
    # Imported here: it takes a second, which what only asks for a plan need not wait for.
    from scipy import stats

    interval = stats.binomtest(round(share * num_images), num_images).proportion_ci(CONFIDENCE, method="wilson")
    return Accuracy(share, float(interval.low), float(interval.high), num_images)


def of_score(score: Score) -> Accuracy:
    """That of an evaluation."""
    return over_images(score.accuracy, score.num_images)


def over_seeds(shares: Sequence[float], num_images: int | None) -> Accuracy | None:
    """The mean of several trainings; None of one alone on images that nobody counted."""
    middle = mean(shares)
    if len(shares) == 1:
        return None if num_images is None else over_images(middle, num_images)
    # Imported here: it takes a second, which what only asks for a plan need not wait for.
    from scipy import stats

    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(shares) - 1)) * stdev(shares) / sqrt(len(shares))
    return Accuracy(middle, max(0.0, middle - reach), min(1.0, middle + reach), num_images, len(shares))
