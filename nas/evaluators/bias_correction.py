"""Scores without the bias that an audit found for the operators of an architecture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from nas.evaluators.evaluator import Evaluator
from space.architecture import Architecture
from supernet.score import Score

Shares = Mapping[str, float]
"""The share of an architecture's blocks that hold an operator, by operator."""


@dataclass(frozen=True)
class UnbiasedEvaluator:
    """Corrects the log-likelihoods of another evaluator.

    Args:
        corrections: by operator, how much too high an audit found the log-likelihoods to be.
    """

    evaluator: Evaluator
    corrections: Mapping[str, float]

    def __call__(self, architecture: Architecture) -> Score:
        score = self.evaluator(architecture)
        return replace(score, log_likelihood=corrected(score.log_likelihood, shares_of(architecture), self.corrections))


def shares_of(architecture: Architecture) -> dict[str, float]:
    """The shares of mixers, positional encodings and feed-forward networks, by type."""
    blocks = [block for stage in architecture.stages for block in stage.blocks]
    counts: Counter[str] = Counter()
    for block in blocks:
        counts.update([block.mixer.type, block.ffn.type, *([block.position.type] if block.position.type != "none" else [])])
    return {operator: count / len(blocks) for operator, count in counts.items()}


def corrected(score: float, shares: Shares, corrections: Mapping[str, float]) -> float:
    """A score without the bias of the operators of its architecture."""
    return score - sum(share * corrections.get(operator, 0.0) for operator, share in shares.items())
