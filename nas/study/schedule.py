"""What is to be evaluated next, as the trials say: places of a sequence, each of which is taken until it has its value.

The schedule looks at the trials alone, not at who asks: that is why one worker and many, interrupted or not, go through
the same sequence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from nas.samplers.past import place_of

FAILURE = "failure"
"""The user attribute of a failed trial that says why."""
INTERRUPTED = "interrupted"
"""The failure of a trial whose process was stopped or killed."""
MAX_FAILURES = 3
"""How often an evaluation fails before its place is given up."""
MAX_INTERRUPTIONS = 30
"""How often it is interrupted: a network that is too large for the memory has its process killed each time."""


@dataclass(frozen=True)
class Turn:
    """What to evaluate next.

    Args:
        place: in the sequence of proposals.
        repeated: a trial of this place that failed; none where the place is new.
    """

    place: int
    repeated: FrozenTrial | None = None


def next_turn(trials: Sequence[FrozenTrial], num_results: int, lag: int) -> Turn | None:
    """The next place to evaluate; None where there is nothing to do before an evaluation under way has ended.

    Args:
        num_results: as many evaluations are wanted in all.
        lag: the trial in place N waits for those up to place N - lag.
    """
    by_place: dict[int, list[FrozenTrial]] = defaultdict(list)
    for trial in trials:
        by_place[place_of(trial)].append(trial)
    under_way = [place_of(trial) for trial in trials if trial.state is TrialState.RUNNING]
    done = sum(trial.state is TrialState.COMPLETE for trial in trials)
    if done + len(under_way) >= num_results:
        return None
    for place in sorted(by_place):
        if is_to_be_repeated(by_place[place]):
            return Turn(place, by_place[place][-1])
    place = max(by_place, default=-1) + 1
    return Turn(place) if place - lag < min(under_way, default=place) else None


def is_to_be_repeated(trials: Sequence[FrozenTrial]) -> bool:
    """Whether the trials of a place have all failed, and not too often."""
    failures = [trial.user_attrs.get(FAILURE) for trial in trials if trial.state is TrialState.FAIL]
    interruptions = failures.count(INTERRUPTED)
    return len(failures) == len(trials) and len(failures) - interruptions < MAX_FAILURES and interruptions < MAX_INTERRUPTIONS
