"""A Gaussian process over members of a categorical space, with a kernel that mixes additive, pairwise and similarity parts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from proxies.terms import Rows

Floats = NDArray[np.float64]


class Features:
    """What the kernel compares: for rows (n, slots), one column an option of each slot, and the counts of options over like slots.

    A slot that does not count has an option of its own. Slots are alike if they offer the same options: blocks of one stage do.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.num_slots = len(rows.sizes)
        self._starts = np.cumsum(rows.sizes + 1) - rows.sizes
        self._width = int((rows.sizes + 1).sum())
        groups = {}
        self._pooling = np.zeros((self._width, self._width))
        for start, options in zip(self._starts - 1, rows.options, strict=True):
            group = groups.setdefault(options, start)
            for option in range(len(options) + 1):
                self._pooling[start + option, group + option] = 1
        self._pooling = self._pooling[:, self._pooling.any(axis=0)]

    def __call__(self, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        one_hot = np.zeros((len(rows), self._width))
        columns = np.where(self._rows.active(rows), self._starts + rows, self._starts - 1)
        np.put_along_axis(one_hot, columns, 1, axis=1)
        return one_hot, one_hot @ self._pooling


@dataclass(frozen=True)
class Kernel:
    pooled: float = 0.3
    additive: float = 0.3
    pairwise: float = 0.3
    similar: float = 0.3
    decay: float = 4.0
    noise: float = 0.03

    def __call__(self, match: Floats, pooled: Floats) -> Floats:
        total = self.pooled + self.additive + self.pairwise + self.similar
        k = self.additive * match + self.pairwise * match**2 + self.similar * np.exp(self.decay * (match - 1))
        if self.pooled:
            k += self.pooled * pooled
        return k / total


GRID = {
    "pooled": (0.0, 0.1, 0.3, 1.0, 3.0),
    "additive": (0.0, 0.1, 0.3, 1.0, 3.0),
    "pairwise": (0.0, 0.1, 0.3, 1.0, 3.0),
    "similar": (0.03, 0.1, 0.3, 1.0),
    "decay": (2.0, 4.0, 8.0, 16.0),
    "noise": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
}


class Process:
    def __init__(self, features: Features, rows, values, kernel) -> None:
        self.features, self.kernel = features, kernel
        self.x = features(rows)
        self.y = values

    def similarities(self, x):
        match = x[0] @ self.x[0].T / self.features.num_slots
        pooled = self._norm(x[1]) @ self._norm(self.x[1]).T
        return match, pooled

    @staticmethod
    def _norm(c):
        return c / np.sqrt((c * c).sum(axis=1, keepdims=True))

    def evidence(self, kernel, sims):
        K = kernel(*sims)
        n = len(K)
        K[np.diag_indices(n)] += kernel.noise
        try:
            c = cho_factor(K, lower=True, check_finite=False, overwrite_a=True)
        except np.linalg.LinAlgError:
            return -np.inf
        one = np.ones(n)
        a = cho_solve(c, np.stack((self.y, one), 1), check_finite=False)
        mean = a[:, 0].sum() / a[:, 1].sum()
        quad = (self.y - mean) @ (a[:, 0] - mean * a[:, 1])
        return -0.5 * n * np.log(quad / n) - np.log(np.diag(c[0])).sum() - 0.5 * np.log(a[:, 1].sum())

    def chosen(self, sweeps=2):
        sims = self.similarities(self.x)
        best, k = self.evidence(self.kernel, sims), self.kernel
        for _ in range(sweeps):
            before = k
            for name, values in GRID.items():
                for value in values:
                    other = replace(k, **{name: value})
                    if other == k: continue
                    e = self.evidence(other, sims)
                    if e > best:
                        best, k = e, other
            if k == before: break
        return k

    def fit(self):
        K = self.kernel(*self.similarities(self.x))
        n = len(K)
        K[np.diag_indices(n)] += self.kernel.noise
        c = cho_factor(K, lower=True, check_finite=False)
        self.inv = cho_solve(c, np.eye(n), check_finite=False)
        a, b = self.inv @ self.y, self.inv.sum(1)
        self.mean = a.sum() / b.sum()
        self.alpha = a - self.mean * b
        self.variance = (self.y - self.mean) @ self.alpha / n
        return self

    def predict(self, rows):
        k = self.kernel(*self.similarities(self.features(rows)))
        mu = self.mean + k @ self.alpha
        var = np.maximum(1 - np.einsum("ij,ij->i", k @ self.inv, k), 1e-9) * self.variance
        return mu, np.sqrt(var)
