"""From sums of measured parts to latencies of whole networks, and how sure that is.

A network takes about as long as its parts together, but for what calling and caches cost: latency = constant + scale * (sum of its parts)
+ step * (number of its parts), none of the three below zero, fitted to a few measured networks by relative error. A part counts
with what it takes beyond the quickest part, which is little more than a call: calls cost less, or nothing, inside a network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sample:
    """A measured network.

    Args:
        parts_ns: sum over its parts of what each takes beyond the quickest one.
        num_parts: how many they are.
        network_ns: what the whole network took.
    """

    parts_ns: int
    num_parts: int
    network_ns: int


@dataclass(frozen=True)
class Coefficients:
    """Nanoseconds of a network: `constant` + `scale` * nanoseconds of its parts + `step` * number of its parts."""

    constant: float
    scale: float
    step: float

    def of(self, sample: Sample) -> float:
        """The predicted nanoseconds of a network."""
        return self.constant + self.scale * sample.parts_ns + self.step * sample.num_parts


def fit(samples: Sequence[Sample]) -> Coefficients:
    """The coefficients with the least squared relative errors."""
    rows = np.array([[1.0, sample.parts_ns, sample.num_parts] for sample in samples])
    measured = np.array([sample.network_ns for sample in samples], dtype=float)
    relative = rows / measured[:, None]
    from scipy.optimize import nnls  # Here and below: scipy takes a second to import, and a dry run fits nothing.

    # The columns differ by many orders of magnitude, which the solver's tolerance would not survive.
    sizes = np.maximum(np.linalg.norm(relative, axis=0), np.finfo(float).tiny)
    return Coefficients(*(nnls(relative / sizes, np.ones(len(samples)))[0] / sizes).tolist())


def left_out(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """The prediction for each network by a fit to all others, nanoseconds (n,)."""
    return np.array([fit([*samples[:i], *samples[i + 1 :]]).of(sample) for i, sample in enumerate(samples)])


@dataclass(frozen=True)
class Errors:
    """How well latencies were predicted.

    Args:
        mean: relative error.
        within_tenth: share of the networks within 10 % of what was measured.
        rank_correlation: Spearman's rho.
    """

    mean: float
    within_tenth: float
    rank_correlation: float


def errors(predicted: NDArray[np.float64], measured: NDArray[np.float64]) -> Errors:
    """Compare predictions with measurements, both (n,)."""
    from scipy.stats import spearmanr

    relative = np.abs(predicted / measured - 1)
    return Errors(float(relative.mean()), float((relative <= 0.1).mean()), float(spearmanr(predicted, measured).statistic))


def margin(predicted: NDArray[np.float64], measured: NDArray[np.float64], confidence: float, spread: float = 0.0) -> float:
    """By what factor a prediction must stay below a limit, so that a network meets it with some confidence.

    It is the upper bound of the next ratio of measured to predicted latency that Student's distribution gives, the ratios' logarithms
    taken as normal: fewer networks make it greater. A spread of the measurements comes on top.
    """
    from scipy.stats import t

    ratios = np.log(measured / predicted)
    quantile = t.ppf(confidence, len(ratios) - 1) * math.sqrt(1 + 1 / len(ratios))
    return math.exp(ratios.mean() + quantile * ratios.std(ddof=1)) * (1 + spread)
