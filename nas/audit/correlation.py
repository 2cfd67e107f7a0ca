"""Rank correlations with bootstrap intervals, and the highest ones that a noisy truth allows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.runs.records.audit import RankCorrelation

Values = NDArray[np.float64]

RESAMPLES = 1000
CONFIDENCE = 0.95


def rank_correlation(scores: ArrayLike, truth: ArrayLike, seed: int = 0) -> RankCorrelation:
    """The rank correlations of scores with the truth; at least three architectures."""
    x, y = np.asarray(scores, float), np.asarray(truth, float)
    rows = _resamples(len(x), seed)
    tau_interval, rho_interval = (_interval(of(x[rows], y[rows])) for of in (tau, rho))
    return RankCorrelation(float(tau(x, y)), tau_interval, float(rho(x, y)), rho_interval, len(x))


def advantage(ours: ArrayLike, theirs: ArrayLike, truth: ArrayLike, seed: int = 0) -> tuple[float, tuple[float, float]]:
    """By how much tau of our scores exceeds tau of theirs on the same architectures, with its interval."""
    x, other, y = (np.asarray(values, float) for values in (ours, theirs, truth))
    rows = _resamples(len(x), seed)
    return float(tau(x, y) - tau(other, y)), _interval(tau(x[rows], y[rows]) - tau(other[rows], y[rows]))


def tau(x: Values, y: Values) -> Values:
    """Kendall's tau-b along the last axis; 0 where one side is constant, which ranks nothing."""
    # scipy's takes one pair of rankings at a time, which is too slow for a thousand resamples.
    orders = [np.sign(values[..., :, None] - values[..., None, :]) for values in (x, y)]
    return _cosine(*(order.reshape(*order.shape[:-2], -1) for order in orders))


def rho(x: Values, y: Values) -> Values:
    """Spearman's rho, likewise."""
    ranks = [_ranks(values) for values in (x, y)]
    return _cosine(*(values - values.mean(axis=-1, keepdims=True) for values in ranks))


def _cosine(x: Values, y: Values) -> Values:
    norms = np.sqrt(np.square(x).sum(axis=-1) * np.square(y).sum(axis=-1))
    return (x * y).sum(axis=-1) / np.where(norms > 0, norms, 1)


@dataclass(frozen=True)
class Spread:
    """Standard deviations of a truth: between architectures, without the noise between seeds, and between the seeds of one architecture."""

    architectures: float
    seeds: float


def spread_of(by_seed: Values) -> Spread:
    """By analysis of variance.

    Args:
        by_seed: (seeds, architectures) of the truth, two of either at least.
    """
    noise = by_seed.var(axis=0, ddof=1).mean()
    between = max(by_seed.mean(axis=0).var(ddof=1) - noise / len(by_seed), 0.0)
    return Spread(float(np.sqrt(between)), float(np.sqrt(noise)))


def perfect_predictor(by_seed: Values, seed: int = 0) -> tuple[float, tuple[float, float]]:
    """tau of a predictor that knew every architecture's expectation: median and 95 % interval of simulations.

    The means over seeds, shrunk until their spread is the one without noise, stand for the expectations. Adding the noise
    between seeds again simulates a truth.

    Args:
        by_seed: as for `spread_of`.
    """
    means, spread = by_seed.mean(axis=0), spread_of(by_seed)
    expected = means.mean() + spread.architectures / max(means.std(ddof=1), 1e-12) * (means - means.mean())
    noisy = expected + np.random.default_rng(seed).normal(0, spread.seeds / np.sqrt(len(by_seed)), (RESAMPLES, len(expected)))
    taus = tau(np.broadcast_to(expected, noisy.shape), noisy)
    return float(np.median(taus)), _interval(taus)


def mean_ranks(*many: ArrayLike) -> list[float]:
    """Several scores as one: the mean of an architecture's ranks."""
    return np.mean([_ranks(scores) for scores in many], axis=0).tolist()


def standard_ranks(values: ArrayLike) -> Values:
    """Ranks with mean 0 and standard deviation 1."""
    ranks = _ranks(values)
    return (ranks - ranks.mean()) / max(ranks.std(), 1e-12)


def _ranks(values: ArrayLike) -> Values:
    """Along the last axis, from 1 on; equal values share their mean rank."""
    # Here: scipy takes a second to import, which workers and dry runs would wait for.
    from scipy.stats import rankdata

    return rankdata(values, axis=-1)


def _resamples(count: int, seed: int) -> NDArray[np.int64]:
    """Rows of architectures drawn with replacement."""
    return np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))


def _interval(values: Values) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
