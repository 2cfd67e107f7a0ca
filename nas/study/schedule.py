"""What is to be evaluated next, as the trials say: places of a sequence, each of which is taken until its evaluation has ended.

The schedule looks at the trials alone, not at who asks: that is why one worker and many, interrupted or not, go through
the same sequence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from nas.samplers.past import Reader, place_of

FAILURE = "failure"
"""The user attribute of a failed trial that says why."""
INTERRUPTED = "interrupted"
"""The failure of a trial whose process was stopped or killed."""
MAX_INTERRUPTIONS = 30
"""How often an evaluation is interrupted before it is given up: too large a network for the memory has its process killed each time."""


@dataclass(frozen=True)
class Turn:
    """What to evaluate next.

    Args:
        place: in the sequence of proposals.
        repeated: a trial of this place that was interrupted; none where the place is new.
    """

    place: int
    repeated: FrozenTrial | None = None


class Schedule:
    """Reads a study again and again; a finished trial is read once.

    Args:
        lag: the trial in place N waits for those up to place N - lag.

    Attributes:
        num_complete: trials with a value when the study was read last.
    """

    def __init__(self, lag: int) -> None:
        self.num_complete = 0
        self._lag = lag
        self._read = Reader()
        self._interrupted: dict[int, list[FrozenTrial]] = defaultdict(list)
        self._greatest = -1

    def next_turn(self, trials: Sequence[FrozenTrial], num_results: int) -> Turn | None:
        """The next place to evaluate; None where there is nothing to do before an evaluation under way has ended.

        Args:
            trials: all of the study, in the order of their numbers.
            num_results: as many evaluations are wanted in all.
        """
        finished, left = self._read(trials)
        for trial in finished:
            self._add(trial)
        under_way = {place_of(trial) for trial in left if trial.state is TrialState.RUNNING}
        if len(under_way) + self.num_complete >= num_results:
            return None
        begun = {place_of(trial) for trial in left}
        if to_repeat := self._interrupted.keys() - begun:
            place = min(to_repeat)
            return Turn(place, self._interrupted[place][-1])
        place = max(self._greatest, *begun, -1) + 1
        return Turn(place) if place - self._lag < min(under_way, default=place) else None

    def _add(self, trial: FrozenTrial) -> None:
        place = place_of(trial)
        self._greatest = max(self._greatest, place)
        self.num_complete += trial.state is TrialState.COMPLETE
        if trial.state is TrialState.FAIL and trial.user_attrs.get(FAILURE) == INTERRUPTED:
            self._interrupted[place].append(trial)
            if len(self._interrupted[place]) < MAX_INTERRUPTIONS:
                return
        # Its evaluation has ended, or is given up.
        self._interrupted.pop(place, None)
