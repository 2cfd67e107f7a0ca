"""A Gaussian process over the members of a categorical space, whose kernel mixes additive, pairwise and similarity parts.

Effects of single options and of pairs learn fast where accuracy is nearly a sum of these, as it is in staged networks; likeness to
known members helps where it is not. How much of each there is, the evidence decides.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular
from scipy.linalg.lapack import dtrtri

from proxies.band.additive_cost import Rows

Floats = NDArray[np.floating]
Vectors = tuple[Floats, Floats]
"""What `Features` makes of n rows: two arrays (n, ...)."""

OPTIONS = {
    "pooled": (0.0, 0.3, 1.0, 3.0),
    "additive": (0.0, 0.3, 1.0, 3.0),
    "pairwise": (0.0, 0.3, 1.0, 3.0),
    "similar": (0.1, 0.3, 1.0),
    "decay": (4.0, 12.0),
    "noise": (0.003, 0.01, 0.03, 0.1, 0.3),
}
"""What a kernel is chosen from."""
SWEEPS = 2


@dataclass(frozen=True)
class Kernel:
    """Covariance of the values of two members, from how alike they are; 1 for a member with itself.

    Args:
        pooled: weight of effects that an option has wherever it stands, in any slot that offers the same options.
        additive: of effects that an option has in one slot.
        pairwise: of effects of two options in two slots.
        similar: of effects that fall off with the share of slots that differ, exponentially with the rate `decay`.
        noise: variance of noise beside these.
    """

    pooled: float = 0.3
    additive: float = 0.3
    pairwise: float = 0.3
    similar: float = 0.3
    decay: float = 4.0
    noise: float = 0.03

    def __call__(self, match: Floats, likeness: Floats) -> Floats:
        """Covariances from the share of equal slots and from the likeness of option counts, all of one shape."""
        weights = np.array([self.pooled, self.additive, self.pairwise, self.similar])
        pooled, additive, pairwise, similar = (weights / weights.sum()).tolist()
        covariance = (additive + pairwise * match) * match
        covariance += similar * np.exp(self.decay * (match - 1))
        if pooled:
            covariance += pooled * likeness
        return covariance


class Features:
    """Rows as unit vectors, whose products say how alike members are: slot by slot, and in how often each option occurs.

    A slot that does not count is equal to another such one.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        # A slot's options stand behind the place that says that it does not count.
        self._starts = np.cumsum(rows.sizes + 1) - rows.sizes
        groups: dict[tuple[object, ...], NDArray[np.int64]] = {}
        self._width = 0
        for options in rows.options:
            if options not in groups:
                groups[options] = self._width + np.arange(len(options) + 1)
                self._width += len(options) + 1
        self._pooled = np.concatenate([groups[options] for options in rows.options])

    def __call__(self, rows: NDArray[np.int64]) -> Vectors:
        """Two vectors a row (n, ...)."""
        count, num_slots = rows.shape
        places, numbers = np.where(self._rows.active(rows), self._starts + rows, self._starts - 1), np.arange(count)[:, None]
        vectors = np.zeros((count, len(self._pooled)), dtype=np.float32)
        vectors.reshape(-1)[(len(self._pooled) * numbers + places).ravel()] = num_slots**-0.5
        pooled = (self._width * numbers + self._pooled[places]).ravel()
        counts = np.bincount(pooled, minlength=count * self._width).reshape(count, self._width).astype(np.float32)
        return vectors, counts / np.linalg.norm(counts, axis=1, keepdims=True)


class Known:
    """Members whose values are known, and how these vary together.

    Args:
        features: of n members.
        kernel: their covariance.

    Attributes:
        inverse: of the lower factor of their covariance, (n, n).
    """

    def __init__(self, features: Vectors, kernel: Kernel) -> None:
        self.features = features
        self.kernel = kernel
        self.inverse: Floats = _inverse(_factor(kernel, _alike(features, features)))

    def beside(self, features: Vectors) -> Known:
        """These and m more. The factor grows by their rows, which is faster than a new one."""
        num, size = len(self.inverse), len(self.inverse) + len(features[0])
        across = self.kernel(*_alike(features, self.features)).astype(np.float64) @ self.inverse.T
        own = self.kernel(*_alike(features, features)).astype(np.float64) - across @ across.T
        own[np.diag_indices_from(own)] += self.kernel.noise
        grown = copy(self)
        grown.features = np.concatenate((self.features[0], features[0])), np.concatenate((self.features[1], features[1]))
        grown.inverse = np.zeros((size, size))
        grown.inverse[:num, :num] = self.inverse
        grown.inverse[num:, num:] = corner = _inverse(cho_factor(own, lower=True, check_finite=False)[0])
        grown.inverse[num:, :num] = -corner @ across @ self.inverse
        return grown


class GaussianProcess:
    """What members' values are expected to be, once some are known.

    Args:
        values: of the first n of the known members. Of the others, those are believed that are expected (a "kriging believer"; Ginsbourger
            et al., https://doi.org/10.1007/978-3-642-10701-6_6).

    Attributes:
        expected: the means of the first n members; what is left of a value is the noise that it is taken for.
    """

    def __init__(self, known: Known, values: Floats) -> None:
        self._known = known
        num = len(values)
        # The factor of the first ones is a part of the whole one, and so are their inverses.
        self._mean, weights, self._scale = _profiled(_solved(known.inverse[:num, :num], values), values)
        self.expected = values - known.kernel.noise * weights
        if num < len(known.inverse):
            residuals = known.inverse[num:, :num] @ (values - self._mean)
            believed = self._mean - solve_triangular(known.inverse[num:, num:], residuals, lower=True, check_finite=False)
            values = np.concatenate((values, believed))
            self._mean, weights, self._scale = _profiled(_solved(known.inverse, values), values)
        self._weights = weights.astype(np.float32)
        # Half precision of the rest is enough, and twice as fast; a triangular root keeps the variance exact all the same.
        self._root = known.inverse.T.astype(np.float32)

    def predict(self, features: Vectors) -> tuple[Floats, Floats]:
        """Means and standard deviations (n,) of members that are not known."""
        covariance = self._known.kernel(*_alike(features, self._known.features))
        explained = (covariance @ self._root) ** 2
        return self._mean + covariance @ self._weights, np.sqrt(self._scale * np.maximum(1 - explained.sum(axis=1), 1e-6))


def chosen_kernel(known: Vectors, values: Floats) -> Kernel:
    """The kernel of greatest evidence among those that changes of one option after another reach."""
    alike = _alike(known, known)
    best = Kernel()
    greatest = _evidence(best, alike, values)
    for _ in range(SWEEPS):
        for name in (field.name for field in fields(Kernel)):
            for option in OPTIONS[name]:
                other = replace(best, **{name: option})
                if other != best and (evidence := _evidence(other, alike, values)) > greatest:
                    best, greatest = other, evidence
    return best


def _alike(first: Vectors, second: Vectors) -> tuple[Floats, Floats]:
    return first[0] @ second[0].T, first[1] @ second[1].T


def _factor(kernel: Kernel, alike: tuple[Floats, Floats]) -> Floats:
    """The lower Cholesky factor of the covariance; what stands above it is not zero."""
    covariance = kernel(*alike).astype(np.float64)
    covariance[np.diag_indices_from(covariance)] += kernel.noise
    return cho_factor(covariance, lower=True, overwrite_a=True, check_finite=False)[0]


def _inverse(factor: Floats) -> Floats:
    """The inverse of a lower factor."""
    return np.tril(dtrtri(factor, lower=1)[0])


def _solved(inverse: Floats, values: Floats) -> Floats:
    """Values and ones divided by the covariance, (n, 2)."""
    return inverse.T @ (inverse @ np.stack((values, np.ones(len(values))), axis=1))


def _profiled(solved: Floats, values: Floats) -> tuple[float, Floats, float]:
    """The likeliest mean, the values less it divided by the covariance, and the likeliest scale of the covariance."""
    mean = solved[:, 0].sum() / solved[:, 1].sum()
    weights = solved[:, 0] - mean * solved[:, 1]
    return float(mean), weights, float((values - mean) @ weights / len(values)) + 1e-9


def _evidence(kernel: Kernel, alike: tuple[Floats, Floats], values: Floats) -> float:
    """The logarithm of the marginal likelihood, mean and scale at their likeliest, up to a constant."""
    try:
        factor = _factor(kernel, alike)
    except LinAlgError:
        return -np.inf
    solved = cho_solve((factor, True), np.stack((values, np.ones(len(values))), axis=1), check_finite=False)
    scale = _profiled(solved, values)[2]
    return float(-0.5 * len(values) * np.log(scale) - np.log(factor.diagonal()).sum())
