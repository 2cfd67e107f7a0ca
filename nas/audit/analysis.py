"""The analysis of an audit: every predictor against the truth, overall and at equal multiply-adds, and how reliable the truth is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.audit.correlation import Spread, Values, advantage, perfect_predictor, rank_correlation, spread_of
from nas.audit.operator_bias import Bias, biases, corrections
from nas.audit.predictors import Predictor
from nas.audit.sample import Member
from nas.evaluators.bias_correction import shares_of
from nas.evaluators.trainings import Trained, Training
from nas.runs.records.audit import GROUPS, SUPERNET, RankCorrelation

MACS = "MACs"


@dataclass(frozen=True)
class Truth:
    """The ground truth: what the members of a sample reached in stand-alone training.

    Args:
        by_seed: (seeds, members), mean log-likelihood on the search images.
        longer: the same after `nas.audit.sample.LONG` times the steps, by index in the sample.
    """

    members: Sequence[Member]
    by_seed: Values
    longer: Mapping[int, float]

    @property
    def means(self) -> Values:
        """Of every member over seeds."""
        return self.by_seed.mean(axis=0)

    def rows(self, group: str) -> list[int]:
        """Indices of the members of a group."""
        return [row for row, member in enumerate(self.members) if group == "overall" or member.part == "band"]


@dataclass(frozen=True)
class Ceiling:
    """The highest correlation that any predictor could reach, since the truth itself is noisy.

    Args:
        seeds: of one seed with another; none where there is only one seed.
        perfect: tau, and its interval, of a predictor that knew every expectation, with the truth.
        longer: of much longer trainings with the truth.
        spread: of the truth; none where there is only one seed.
    """

    seeds: RankCorrelation | None
    perfect: tuple[float, tuple[float, float]] | None
    longer: RankCorrelation | None
    spread: Spread | None


@dataclass(frozen=True)
class Analysis:
    """Everything in the report.

    Args:
        correlations: by group and predictor.
        biases: of the supernet, or else of the first predictor, by operator: mixers, positional encodings and feed-forward networks.
        corrections: what to subtract from a score for them, as `nas.evaluators.bias_correction.corrected` does.
        advantages: by how much tau of the supernet exceeds that of multiply-adds, by group.
    """

    correlations: Mapping[str, Mapping[str, RankCorrelation]]
    ceilings: Mapping[str, Ceiling]
    biases: Mapping[str, Bias]
    corrections: Mapping[str, float]
    advantages: Mapping[str, tuple[float, tuple[float, float]]]


def truth_of(
    members: Sequence[Member], truth: Sequence[Training], longer: Sequence[Training], results: Mapping[Training, Trained]
) -> Truth:
    """The truth of the members, in their order, from the results of trainings."""
    found = {(training.seed, training.architecture.fingerprint): results[training].score.log_likelihood for training in truth}
    seeds = sorted({seed for seed, _ in found})
    by_seed = np.array([[found[seed, member.architecture.fingerprint] for member in members] for seed in seeds])
    of_long = {training.architecture.fingerprint: results[training].score.log_likelihood for training in longer}
    indices = {member.architecture.fingerprint: row for row, member in enumerate(members)}
    return Truth(members, by_seed, {indices[fingerprint]: value for fingerprint, value in of_long.items()})


def analyse(truth: Truth, predictors: Sequence[Predictor]) -> Analysis:
    """Compare every predictor with the truth."""
    by_name = {predictor.name: predictor for predictor in predictors}
    correlations, ceilings, advantages = {}, {}, {}
    for group in GROUPS:
        rows = truth.rows(group)
        means = truth.means[rows]
        scores = {name: np.array(predictor.scores)[rows] for name, predictor in by_name.items()}
        correlations[group] = {name: rank_correlation(of_rows, means) for name, of_rows in scores.items()}
        ceilings[group] = _ceiling(truth, rows)
        if SUPERNET in scores:
            advantages[group] = advantage(scores[SUPERNET], scores[MACS], means)
    judged = by_name.get(SUPERNET, predictors[0])
    shares = [shares_of(member.architecture) for member in truth.members]
    of_operators = biases(judged.scores, truth.means, shares)
    return Analysis(correlations, ceilings, of_operators, corrections(judged.scores, of_operators), advantages)


def _ceiling(truth: Truth, rows: list[int]) -> Ceiling:
    by_seed = truth.by_seed[:, rows]
    long_rows = [row for row in rows if row in truth.longer]
    longer = rank_correlation([truth.longer[row] for row in long_rows], truth.means[long_rows]) if len(long_rows) > 2 else None
    if len(by_seed) < 2:
        return Ceiling(None, None, longer, None)
    return Ceiling(rank_correlation(by_seed[0], by_seed[1]), perfect_predictor(by_seed), longer, spread_of(by_seed))
