"""A Gaussian process over the members of a categorical space. Its kernel is a weighted sum of additive, pairwise and similarity parts.

Effects of single options and of pairs are learnt from few trials where accuracy is nearly their sum, as in staged networks; similarity
to observed members helps elsewhere. The marginal likelihood sets the weights.

Covariances are computed in half the precision of the rest, which is enough and twice as fast.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular
from scipy.linalg.lapack import dtrtri

from proxies.band.additive_cost import Rows

Floats = NDArray[np.floating]
Vectors = tuple[Floats, Floats]
"""What `Features` makes of n members: unit vectors of their slots (n, ...) and of their options' counts (n, ...)."""

GRID = {
    "pooled": (0.0, 0.3, 1.0, 3.0),
    "additive": (0.0, 0.3, 1.0, 3.0),
    "pairwise": (0.0, 0.3, 1.0, 3.0),
    "similarity": (0.1, 0.3, 1.0),
    "decay": (4.0, 12.0),
    "noise": (0.003, 0.01, 0.03, 0.1, 0.3),
}
"""The values that `fit_kernel` tries for each field of a kernel."""
SWEEPS = 2
"""Times that it goes through all fields."""


@dataclass(frozen=True)
class Kernel:
    """The covariance of two members' values; 1 for a member with itself. The first four weights are relative to each other.

    Args:
        pooled: weight of effects that an option has in all slots that offer the same options.
        additive: weight of effects that an option has in one slot.
        pairwise: weight of effects of two options in two slots.
        similarity: weight of effects that fall exponentially with the share of slots that differ.
        decay: the rate of that.
        noise: variance of the noise, added to the diagonal.
    """

    pooled: float = 0.3
    additive: float = 0.3
    pairwise: float = 0.3
    similarity: float = 0.3
    decay: float = 4.0
    noise: float = 0.03

    def __call__(self, first: Vectors, second: Vectors) -> Floats:
        """Covariances (n, m), without noise, of n members with m others."""
        return self.of_products(*_products(first, second))

    def of_products(self, match: Floats, count_match: Floats) -> Floats:
        """Covariances from products of feature vectors: the share of equal slots, and the cosine of option counts."""
        weights = np.array([self.pooled, self.additive, self.pairwise, self.similarity])
        pooled, additive, pairwise, similarity = (weights / weights.sum()).tolist()
        covariance = (additive + pairwise * match) * match
        covariance += similarity * np.exp(self.decay * (match - 1))
        if pooled:
            covariance += pooled * count_match
        return covariance


class Features:
    """Members as unit vectors. Their products measure how alike two members are. Two inactive slots count as equal."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        # Each slot has one column for "inactive", then one for each of its options.
        self._starts = np.cumsum(rows.sizes + 1) - rows.sizes
        groups: dict[tuple[object, ...], NDArray[np.int64]] = {}
        self._num_pooled = 0
        for options in rows.options:
            if options not in groups:
                groups[options] = self._num_pooled + np.arange(len(options) + 1)
                self._num_pooled += len(options) + 1
        self._pooled = np.concatenate([groups[options] for options in rows.options])

    def __call__(self, members: NDArray[np.int64]) -> Vectors:
        """The vectors of canonical rows (n, slots)."""
        count, num_slots = members.shape
        columns, index = np.where(self._rows.active(members), self._starts + members, self._starts - 1), np.arange(count)[:, None]
        vectors = np.zeros((count, len(self._pooled)), dtype=np.float32)
        vectors.reshape(-1)[(len(self._pooled) * index + columns).ravel()] = num_slots**-0.5
        pooled = (self._num_pooled * index + self._pooled[columns]).ravel()
        counts = np.bincount(pooled, minlength=count * self._num_pooled).reshape(count, self._num_pooled).astype(np.float32)
        return vectors, counts / np.linalg.norm(counts, axis=1, keepdims=True)


@dataclass(frozen=True)
class CholeskyFactor:
    """The covariance of n members, as the inverse of its lower Cholesky factor.

    Args:
        features: of the members.
        inverse: (n, n), lower triangular.
    """

    kernel: Kernel
    features: Vectors
    inverse: Floats

    @classmethod
    def of(cls, features: Vectors, kernel: Kernel) -> CholeskyFactor:
        """The factor of n members' covariance."""
        return cls(kernel, features, _inverse(_factor(kernel, _products(features, features))))

    def extended(self, features: Vectors) -> CholeskyFactor:
        """The factor of these members and m more. Adding rows is faster than a new factor."""
        num, size = len(self.inverse), len(self.inverse) + len(features[0])
        across = self.kernel(features, self.features).astype(np.float64) @ self.inverse.T
        own = self.kernel(features, features).astype(np.float64) - across @ across.T
        own[np.diag_indices_from(own)] += self.kernel.noise
        inverse = np.zeros((size, size))
        inverse[:num, :num] = self.inverse
        inverse[num:, num:] = corner = _inverse(cho_factor(own, lower=True, check_finite=False)[0])
        inverse[num:, :num] = -corner @ across @ self.inverse
        both = np.concatenate((self.features[0], features[0])), np.concatenate((self.features[1], features[1]))
        return CholeskyFactor(self.kernel, both, inverse)


class GaussianProcess:
    """The posterior of members' values. Mean and scale of the prior are at their likeliest.

    Args:
        factor: of the observed members, and of pending ones after them.
        values: of the observed members. Pending members are given their posterior mean as a value (a "kriging believer"; Ginsbourger
            et al., https://doi.org/10.1007/978-3-642-10701-6_6).

    Attributes:
        fitted: posterior means (n,) of the observed members; values differ from them by noise.
    """

    def __init__(self, factor: CholeskyFactor, values: Floats) -> None:
        self._factor = factor
        num = len(values)
        # The factor of the observed members is a block of the whole one, and so are the inverses.
        self._mean, weights, self._scale = _profile(_solve(factor.inverse[:num, :num], values), values)
        self.fitted = values - factor.kernel.noise * weights
        if num < len(factor.inverse):
            residuals = factor.inverse[num:, :num] @ (values - self._mean)
            believed = self._mean - solve_triangular(factor.inverse[num:, num:], residuals, lower=True, check_finite=False)
            values = np.concatenate((values, believed))
            self._mean, weights, self._scale = _profile(_solve(factor.inverse, values), values)
        self._weights = weights.astype(np.float32)
        # With a triangular root, variances stay positive in this precision.
        self._root = factor.inverse.T.astype(np.float32)

    def predict(self, features: Vectors) -> tuple[Floats, Floats]:
        """Posterior means and standard deviations (n,) of other members."""
        covariance = self._factor.kernel(features, self._factor.features)
        explained = (covariance @ self._root) ** 2
        return self._mean + covariance @ self._weights, np.sqrt(self._scale * np.maximum(1 - explained.sum(axis=1), 1e-6))


def fit_kernel(features: Vectors, values: Floats) -> Kernel:
    """The kernel of greatest marginal likelihood that coordinate ascent over `GRID` finds, for n members and their values (n,)."""
    products = _products(features, features)
    best = Kernel()
    greatest = _log_likelihood(best, products, values)
    for _ in range(SWEEPS):
        for name in (field.name for field in fields(Kernel)):
            for option in GRID[name]:
                other = replace(best, **{name: option})
                if other != best and (likelihood := _log_likelihood(other, products, values)) > greatest:
                    best, greatest = other, likelihood
    return best


def _products(first: Vectors, second: Vectors) -> tuple[Floats, Floats]:
    return first[0] @ second[0].T, first[1] @ second[1].T


def _factor(kernel: Kernel, products: tuple[Floats, Floats]) -> Floats:
    """The lower Cholesky factor of the covariance; above the diagonal it holds arbitrary numbers."""
    covariance = kernel.of_products(*products).astype(np.float64)
    covariance[np.diag_indices_from(covariance)] += kernel.noise
    return cho_factor(covariance, lower=True, overwrite_a=True, check_finite=False)[0]


def _inverse(factor: Floats) -> Floats:
    return np.tril(dtrtri(factor, lower=1)[0])


def _solve(inverse: Floats, values: Floats) -> Floats:
    """The covariance's inverse times values and times ones, (n, 2)."""
    return inverse.T @ (inverse @ np.stack((values, np.ones(len(values))), axis=1))


def _profile(solved: Floats, values: Floats) -> tuple[float, Floats, float]:
    """The likeliest mean; the covariance's inverse times the residuals, (n,); the likeliest scale of the covariance."""
    mean = solved[:, 0].sum() / solved[:, 1].sum()
    weights = solved[:, 0] - mean * solved[:, 1]
    return float(mean), weights, float((values - mean) @ weights / len(values)) + 1e-9


def _log_likelihood(kernel: Kernel, products: tuple[Floats, Floats], values: Floats) -> float:
    """The log marginal likelihood at the likeliest mean and scale, up to a constant; -inf for a singular covariance."""
    try:
        factor = _factor(kernel, products)
    except LinAlgError:
        return -np.inf
    solved = cho_solve((factor, True), np.stack((values, np.ones(len(values))), axis=1), check_finite=False)
    scale = _profile(solved, values)[2]
    return float(-0.5 * len(values) * np.log(scale) - np.log(factor.diagonal()).sum())
