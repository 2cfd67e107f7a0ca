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
    failed: dict[int, list[FrozenTrial]] = defaultdict(list)
    taken: dict[int, TrialState] = {}
    for trial in trials:
        if trial.state is TrialState.FAIL:
            failed[place_of(trial)].append(trial)
        else:
            taken[place_of(trial)] = trial.state
    under_way = [place for place, state in taken.items() if state is TrialState.RUNNING]
    if len(under_way) + sum(state is TrialState.COMPLETE for state in taken.values()) >= num_results:
        return None
    for place in sorted(failed.keys() - taken.keys()):
        if is_to_be_repeated(failed[place]):
            return Turn(place, failed[place][-1])
    place = max((*failed, *taken), default=-1) + 1
    return Turn(place) if place - lag < min(under_way, default=place) else None


def is_to_be_repeated(trials: Sequence[FrozenTrial]) -> bool:
    """Whether the trials of a place, which have all failed, have not done so too often."""
    failures = [trial.user_attrs.get(FAILURE) for trial in trials]
    interruptions = failures.count(INTERRUPTED)
    return len(failures) - interruptions < MAX_FAILURES and interruptions < MAX_INTERRUPTIONS
