"""Which operators a ranking rates too high or too low, and scores corrected for that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nas.audit.correlation import standard_ranks
from nas.evaluators.bias_correction import Shares, corrected

LEAST = 3
"""With fewer architectures a bias cannot be distinguished from chance."""


@dataclass(frozen=True)
class Bias:
    """By how much architectures with an operator are ranked too high.

    Args:
        mean: in standard deviations of ranks, weighted by the operator's share of the blocks.
        count: architectures that have it.
    """

    mean: float
    stderr: float
    count: int

    @property
    def shrunk(self) -> float:
        """The mean, shrunk towards zero by the share that chance explains (James and Stein)."""
        if self.count < LEAST or not self.mean:
            return 0.0
        return self.mean * max(0.0, 1 - (self.stderr / self.mean) ** 2)


def by_operator(updates: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """How often every operator was trained, over all blocks and options.

    Args:
        updates: as `PathTraining.updates`, by block and label, such as `ssa(sr_ratio=4)`.
    """
    totals: Counter[str] = Counter()
    for of_block in updates.values():
        for label, count in of_block.items():
            totals[label.partition("(")[0]] += count
    return dict(totals)


def biases(scores: ArrayLike, truth: ArrayLike, shares: Sequence[Shares]) -> dict[str, Bias]:
    """Bias by operator, the most over-rated first.

    Args:
        shares: of every architecture.
    """
    residuals = standard_ranks(scores) - standard_ranks(truth)
    found = {}
    for operator in sorted({name for share in shares for name in share}):
        weights = np.array([share.get(operator, 0.0) for share in shares])
        mean = float(weights @ residuals / weights.sum())
        stderr = float(np.sqrt(np.square(weights * (residuals - mean)).sum()) / weights.sum())
        found[operator] = Bias(mean, stderr, int((weights > 0).sum()))
    return dict(sorted(found.items(), key=lambda item: -item[1].mean))


def corrections(scores: ArrayLike, found: Mapping[str, Bias]) -> dict[str, float]:
    """What to subtract from a score for each operator, times its share of the blocks, in the scores' unit."""
    spread = float(np.std(np.asarray(scores, float)))
    return {operator: spread * bias.shrunk for operator, bias in found.items() if bias.shrunk}


def leave_one_out(scores: ArrayLike, truth: ArrayLike, shares: Sequence[Shares]) -> list[float]:
    """All scores, each corrected by the biases of the other architectures, as a new one's would be."""
    x, y = np.asarray(scores, float), np.asarray(truth, float)

    def without(i: int) -> float:
        others = [other for other in range(len(x)) if other != i]
        found = biases(x[others], y[others], [shares[other] for other in others])
        return corrected(float(x[i]), shares[i], corrections(x[others], found))

    return [without(i) for i in range(len(x))]
