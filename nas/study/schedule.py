"""Which proposal of the sequence comes next. It depends on the study's trials alone, not on who asks.

So one worker and many, interrupted or not, go through the same sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from nas.samplers.observed_trials import index_of
from nas.study import trial_attributes as attr

MAX_INTERRUPTIONS = 30
"""Interrupted trials of one proposal before it is given up: a network too large for the memory has its process killed each time."""


@dataclass(frozen=True)
class Next:
    """The proposal to evaluate next: its index, and the interrupted trial that it repeats, if it is not a new one."""

    index: int
    repeated: FrozenTrial | None = None


class Schedule:
    """Reads a study again and again, each finished trial once, and says what comes next.

    Args:
        staleness: proposal N waits for those up to N - staleness.

    Attributes:
        num_complete: evaluated trials, as of the last reading.
        running: trials that were being evaluated then.
    """

    def __init__(self, staleness: int) -> None:
        self._staleness = staleness
        self.num_complete = 0
        self.running: list[FrozenTrial] = []
        self._num_read = 0
        self._unfinished: list[FrozenTrial] = []
        self._next_index = 0
        # By index, the attempts of proposals none of whose attempts has ended in another way than by an interruption.
        self._interrupted: dict[int, list[FrozenTrial]] = {}
        self._ended: set[int] = set()

    def read(self, trials: Sequence[FrozenTrial]) -> None:
        """Take note of what has changed since the last reading.

        Args:
            trials: all of the study, by trial number.
        """
        recent = [trials[number] for number in (*(trial.number for trial in self._unfinished), *range(self._num_read, len(trials)))]
        self._num_read = len(trials)
        for trial in recent:
            self._next_index = max(self._next_index, index_of(trial) + 1)
            if trial.state.is_finished():
                self._end(trial)
        self._unfinished = [trial for trial in recent if not trial.state.is_finished()]
        self.running = [trial for trial in self._unfinished if trial.state is TrialState.RUNNING]

    def next(self, num_results: int) -> Next | None:
        """What to evaluate next; None if a running evaluation has to finish first.

        Args:
            num_results: evaluations wanted in all.
        """
        if len(self.running) + self.num_complete >= num_results:
            return None
        under_way = {index_of(trial) for trial in self._unfinished}
        to_repeat = [index for index, attempts in self._interrupted.items() if index not in under_way and len(attempts) < MAX_INTERRUPTIONS]
        if to_repeat:
            return Next(min(to_repeat), self._interrupted[min(to_repeat)][-1])
        oldest = min(map(index_of, self.running), default=self._next_index)
        return Next(self._next_index) if self._next_index - self._staleness < oldest else None

    def _end(self, trial: FrozenTrial) -> None:
        index = index_of(trial)
        self.num_complete += trial.state is TrialState.COMPLETE
        if trial.state is TrialState.FAIL and trial.user_attrs.get(attr.FAILURE) == attr.INTERRUPTED:
            if index not in self._ended:
                self._interrupted.setdefault(index, []).append(trial)
        else:
            self._ended.add(index)
            self._interrupted.pop(index, None)
