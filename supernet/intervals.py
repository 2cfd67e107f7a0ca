"""Figures such as accuracies with confidence intervals, over images or over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, mean, stdev

from supernet.score import Score

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure that is a share of 1, such as an accuracy or a mean IoU, with its 95 % interval.

    Args:
        num_images: None where it is unknown.
        num_seeds: trainings averaged. The interval of several is over seeds (Student's), of one over images (Wilson's).
    """

    share: float
    low: float
    high: float
    num_images: int | None
    num_seeds: int = 1

    @property
    def in_percent(self) -> str:
        """`41.9 [38.9, 45.0]`."""
        return "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * share for share in (self.share, self.low, self.high)))


def over_images(share: float, num_images: int, stderr: float | None = None) -> Interval:
    """The figure of one network, with Wilson's interval.

    Args:
        stderr: its standard error, from which the interval follows as for a share of as many images as have this standard error; by
            default the figure is a share of the images.
    """
    # Of a share of images that is their number again.
    trials = share * (1 - share) / stderr**2 if stderr and 0 < share < 1 else float(num_images)
    z2 = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) ** 2
    middle, half_width = share + z2 / (2 * trials), sqrt(z2 * share * (1 - share) / trials + (z2 / (2 * trials)) ** 2)
    low, high = ((middle + sign * half_width) / (1 + z2 / trials) for sign in (-1, 1))
    # Rounding may lead out of the range of a share.
    return Interval(share, min(max(0.0, low), share), max(min(1.0, high), share), num_images)


def of_score(score: Score) -> Interval:
    """The headline figure of an evaluation."""
    return over_images(score.value, score.num_images, score.stderr)


def over_seeds(shares: Sequence[float], num_images: int | None, stderr: float | None = None) -> Interval | None:
    """The mean of a figure of several trainings; None for one training on an unknown number of images.

    Args:
        stderr: of one training's figure, as `over_images` takes it.
    """
    middle = mean(shares)
    if len(shares) == 1:
        return None if num_images is None else over_images(middle, num_images, stderr)
    half_width = _half_width(shares)
    return Interval(middle, max(0.0, middle - half_width), min(1.0, middle + half_width), num_images, len(shares))


def paired_difference(shares: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """The interval of the difference of two means, that of `others` less that of `shares`, from differences seed by seed (Student's).

    Args:
        shares, others: of two trainings or more with the same seeds.
    """
    differences = [other - share for share, other in zip(shares, others, strict=True)]
    middle, half_width = mean(differences), _half_width(differences)
    return middle - half_width, middle + half_width


def in_points(difference: float, interval: tuple[float, float] | None) -> str:
    """`+4.9 [+2.9, +6.9]`, of a difference of shares, in percentage points."""
    value = f"{100 * difference:+.1f}"
    return value if interval is None else f"{value} [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"


def student_quantile(freedom: float) -> float:
    """How many standard errors a 95 % interval reaches to either side, with so many degrees of freedom."""
    # Imported here: it takes a second, which plans do not need.
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, freedom))


def _half_width(values: Sequence[float]) -> float:
    return student_quantile(len(values) - 1) * stdev(values) / sqrt(len(values))
