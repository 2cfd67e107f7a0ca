"""What a search's final training says in a sentence: test figures of the winner and of those it is held against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, variance

from nas.runs.records.halving import CandidateRecord, HalvingRecord
from supernet.intervals import Interval, over_images
from supernet.score import Score

TIED = 2.0
"""Test figures closer than so many standard errors of their difference cannot be told apart."""


def figure_of(scores: Sequence[Score]) -> Interval:
    """The mean over seeds of one network's test figure, with Wilson's interval over images."""
    return over_images(mean(one.value for one in scores), scores[0].num_images, mean(one.stderr for one in scores))


def is_ahead(record: HalvingRecord) -> bool:
    """Whether the winner's test figure is surely above that of all others that were measured."""
    winner, others = record.winner, _others(record)
    return bool(winner.test and others) and all(lead < -margin for lead, margin in _leads(winner, others).values())


def outcome_in_words(record: HalvingRecord) -> str:
    """The test figures after the last rung, and whether the winner leads; empty where the winner's was not measured."""
    winner, others = record.winner, _others(record)
    if not winner.test:
        return ""
    first = winner.test[0]
    shown = [f"the winner, {winner.label}, {_shown(winner)}", *(f"{one.label} {_shown(one)}" for one in others)]
    seeds = f" with {len(winner.test)} seeds" if len(winner.test) > 1 else ""
    how = f"Trained alike from scratch for {record.steps[-1]} steps{seeds}, {first.metric} on {first.num_images} test images (95 %):"
    return f"{how} {'; '.join(shown)}.{_conclusion(winner, others)}"


def _others(record: HalvingRecord) -> list[CandidateRecord]:
    return [one for one in record.candidates if one.test and one is not record.winner]


def _shown(one: CandidateRecord) -> str:
    found = figure_of(one.test)
    return f"{100 * found.share:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"


def _conclusion(winner: CandidateRecord, others: Sequence[CandidateRecord]) -> str:
    leads = _leads(winner, others)
    if better := [label for label, (lead, margin) in leads.items() if lead > margin]:
        return f" {' and '.join(better)} did better than the winner."
    if tied := [label for label, (lead, margin) in leads.items() if lead >= -margin]:
        return f" The winner and {' and '.join(tied)} cannot be told apart."
    return " The winner leads." if others else ""


def _leads(winner: CandidateRecord, others: Sequence[CandidateRecord]) -> dict[str, tuple[float, float]]:
    """By label how far others' test figures lie above the winner's, and how far they must lie apart to be told apart.

    The variance of seeds is pooled over networks, since two seeds of one say little.
    """
    tested = [one.test for one in (winner, *others)]
    of_images = mean(score.stderr**2 for scores in tested for score in scores)
    several = [scores for scores in tested if len(scores) > 1]
    of_seeds = mean(variance(score.value for score in scores) / len(scores) for scores in several) if several else 0.0
    margin = TIED * math.sqrt(2 * (of_images + of_seeds))
    own = figure_of(winner.test).share
    return {one.label: (figure_of(one.test).share - own, margin) for one in others}
