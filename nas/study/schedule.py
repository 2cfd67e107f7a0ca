"""Which proposal of the sequence comes next. It depends on the study's trials alone, not on who asks.

So one worker and many, interrupted or not, go through the same sequence.
"""

from __future__ import annotations

from collections import defaultdict
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


def next_proposal(trials: Sequence[FrozenTrial], num_results: int, staleness: int) -> Next | None:
    """Find what to evaluate next; None if a running evaluation has to finish first.

    Args:
        trials: all of the study, by trial number.
        num_results: evaluations wanted in all.
        staleness: proposal N waits for those up to N - staleness.
    """
    by_index: dict[int, list[FrozenTrial]] = defaultdict(list)
    for trial in trials:
        by_index[index_of(trial)].append(trial)
    running = [index_of(trial) for trial in trials if trial.state is TrialState.RUNNING]
    num_complete = sum(trial.state is TrialState.COMPLETE for trial in trials)
    if len(running) + num_complete >= num_results:
        return None
    if to_repeat := [index for index, attempts in by_index.items() if _is_to_repeat(attempts)]:
        return Next(min(to_repeat), by_index[min(to_repeat)][-1])
    index = max(by_index, default=-1) + 1
    return Next(index) if index - staleness < min(running, default=index) else None


def _is_to_repeat(attempts: Sequence[FrozenTrial]) -> bool:
    is_interrupted = [trial.state is TrialState.FAIL and trial.user_attrs.get(attr.FAILURE) == attr.INTERRUPTED for trial in attempts]
    return len(attempts) < MAX_INTERRUPTIONS and all(is_interrupted)
