"""What comes next follows from a study's trials, each of which is read until it has ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.samplers.observed_trials import PROPOSAL_INDEX
from nas.study import trial_attributes as attr
from nas.study.schedule import Schedule

ENDS = ("complete", "failed", "interrupted")
STALENESS = 3


def trial(number: int, index: int, end: str | None = None) -> FrozenTrial:
    """A running trial, or one that has ended so."""
    state = {None: TrialState.RUNNING, "complete": TrialState.COMPLETE}.get(end, TrialState.FAIL)
    attributes = {PROPOSAL_INDEX: index} | ({attr.FAILURE: attr.INTERRUPTED if end == "interrupted" else "a fault"} if end else {})
    made = create_trial(state=state, value=0.0 if end == "complete" else None, user_attrs=attributes)
    made.number = number
    return made


class Counted(list[FrozenTrial]):
    """Trials that count how many of them are read."""

    num_reads = 0

    def __getitem__(self, index: Any) -> Any:
        self.num_reads += 1
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[FrozenTrial]:
        for one in super().__iter__():
            self.num_reads += 1
            yield one


@given(st.lists(st.tuples(st.integers(0, STALENESS - 1), st.sampled_from(ENDS)), max_size=60), st.integers(1, 12))
def test_reading_step_by_step_is_reading_all_at_once(ends: Sequence[tuple[int, str]], num_results: int) -> None:
    """Whatever becomes of the trials: as many run as may, and now and then one of them ends."""
    trials: list[FrozenTrial] = []
    step_by_step = Schedule(STALENESS)
    for which, end in ends:
        step_by_step.read(trials)
        while (following := step_by_step.next(num_results)) is not None:
            assert following == _at_once(trials, num_results)
            trials.append(trial(len(trials), following.index))
            step_by_step.read(trials)
        assert _at_once(trials, num_results) is None
        running = [one for one in trials if one.state is TrialState.RUNNING]
        assert len(running) <= STALENESS
        if not running:
            break
        ended = running[which % len(running)]
        trials[ended.number] = trial(ended.number, ended.user_attrs[PROPOSAL_INDEX], end)
    complete = [one.user_attrs[PROPOSAL_INDEX] for one in trials if one.state is TrialState.COMPLETE]
    assert len(set(complete)) == len(complete) <= num_results


def _at_once(trials: Sequence[FrozenTrial], num_results: int) -> object:
    schedule = Schedule(STALENESS)
    schedule.read(trials)
    return schedule.next(num_results)


def test_a_trial_that_has_ended_is_read_no_more() -> None:
    trials = [trial(number, number, "complete") for number in range(100)]
    schedule = Schedule(STALENESS)
    schedule.read(trials)
    trials += [trial(100, 100), trial(101, 101)]
    schedule.read(trials)
    counted = Counted(trials)
    schedule.read(counted)
    assert counted.num_reads == 2
    assert schedule.num_complete == 100
    assert schedule.next(200) is not None
