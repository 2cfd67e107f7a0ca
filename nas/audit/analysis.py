"""What an audit finds out: every predictor beside the truth, overall and at equal multiply-adds, and what the truth itself is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.audit.correlation import Spread, Values, advantage, perfect_predictor, rank_correlation, spread_of
from nas.audit.operator_bias import Bias, biases, corrections
from nas.audit.predictors import Predictor
from nas.audit.sample import Member
from nas.evaluators.bias_correction import shares_of
from nas.evaluators.standalone import Trained, Training
from nas.runs.records.audit import GROUPS, SUPERNET, RankCorrelation

MACS = "MACs"


@dataclass(frozen=True)
class Truth:
    """What stand-alone training says of a sample.

    Args:
        by_seed: (seeds, members), mean log-likelihood on the search images.
        longer: the same after `nas.audit.sample.LONG` times the steps, by place in the sample.
    """

    members: Sequence[Member]
    by_seed: Values
    longer: Mapping[int, float]

    @property
    def means(self) -> Values:
        """The truth of every member: its mean over seeds."""
        return self.by_seed.mean(axis=0)

    def rows(self, group: str) -> list[int]:
        """Places of the members of a group."""
        return [row for row, member in enumerate(self.members) if group == "overall" or member.part == "band"]


@dataclass(frozen=True)
class Ceiling:
    """How well the truth can be ranked at all.

    Args:
        seeds: one seed of the truth by another; none where there is one seed alone.
        perfect: tau that knowledge of the expectations would reach against the truth, and its interval.
        longer: trainings of many times the steps by the truth.
        spread: of the truth; none where there is one seed alone.
    """

    seeds: RankCorrelation | None
    perfect: tuple[float, tuple[float, float]] | None
    longer: RankCorrelation | None
    spread: Spread | None


@dataclass(frozen=True)
class Analysis:
    """Everything that a report tells.

    Args:
        correlations: by group and predictor.
        biases: of the supernet, or else of the first predictor, by operator: mixers, positions and feed-forward networks.
        corrections: what to subtract from a score for them, as `nas.audit.operator_bias.corrected` does.
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
    """Collect what trainings say of the members, in their order."""
    found = {(training.seed, training.architecture.fingerprint): results[training].score.log_likelihood for training in truth}
    seeds = sorted({seed for seed, _ in found})
    by_seed = np.array([[found[seed, member.architecture.fingerprint] for member in members] for seed in seeds])
    of_long = {training.architecture.fingerprint: results[training].score.log_likelihood for training in longer}
    places = {member.architecture.fingerprint: row for row, member in enumerate(members)}
    return Truth(members, by_seed, {places[fingerprint]: value for fingerprint, value in of_long.items()})


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
