"""How a study stands, read from its trials in a moment: no architecture is built for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from nas.samplers.past import place_of
from nas.study.schedule import FAILURE, INTERRUPTED
from supernet.accuracy import Score

SCORE = "score"
"""The user attribute of an evaluated trial with all that a `Score` holds."""
PASSED_OVER = "passed_over"
"""The user attribute of a trial that says how many proposals the sampler passed over for it, since the study had them already."""


@dataclass(frozen=True)
class Standing:
    """An evaluated trial.

    Args:
        amounts: what it costs, by quantity, as the study holds it.
    """

    number: int
    place: int
    fingerprint: str
    score: Score
    amounts: Mapping[str, int]


@dataclass(frozen=True)
class Tally:
    """What has come of all proposals.

    Args:
        evaluated: in the order of their places.
        failed: evaluations that came to nothing.
        interrupted: evaluations that were cut off, whose places others have taken.
        passed_over: proposals that were not made, since the study had them already.
    """

    evaluated: Sequence[Standing]
    under_way: int
    failed: int
    interrupted: int
    passed_over: int

    @property
    def best(self) -> Standing | None:
        """Of greatest log-likelihood."""
        return max(self.evaluated, key=lambda one: (one.score.log_likelihood, one.score.accuracy), default=None)


def tally_of(trials: Sequence[FrozenTrial]) -> Tally:
    """Count a study's trials."""
    reasons = [trial.user_attrs.get(FAILURE) for trial in trials if trial.state is TrialState.FAIL]
    interrupted = reasons.count(INTERRUPTED)
    return Tally(
        evaluated=sorted(
            (_standing(trial) for trial in trials if trial.state is TrialState.COMPLETE and SCORE in trial.user_attrs),
            key=lambda one: one.place,
        ),
        under_way=sum(trial.state is TrialState.RUNNING for trial in trials),
        failed=len(reasons) - interrupted,
        interrupted=interrupted,
        passed_over=sum(trial.user_attrs.get(PASSED_OVER, 0) for trial in trials),
    )


def _standing(trial: FrozenTrial) -> Standing:
    attributes = trial.user_attrs
    amounts = {quantity: attributes[quantity] for quantity in ("macs", "params")}
    return Standing(trial.number, place_of(trial), attributes["fingerprint"], Score(**attributes[SCORE]), amounts)
