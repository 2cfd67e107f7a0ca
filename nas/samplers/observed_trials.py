"""What a proposal may know of its study, as arrays. A study is read for every proposal, but each finished trial is parsed once."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from proxies.band.additive_cost import Rows

Members = NDArray[np.int64]
"""Canonical rows of option indices, (n, slots) or (slots,)."""

PROPOSAL_INDEX = "proposal_index"
"""The user attribute with a trial's index in the sequence of proposals. Without it, that is the trial's number."""
SUM_WEIGHT = 0.05
"""Weight of the objectives' sum, relative to their maximum, in the augmented Chebyshev sum (Knowles, https://doi.org/10.1109/TEVC.2005.851274)."""


@dataclass(frozen=True)
class ObservedTrials:
    """What one proposal may know of its study.

    Args:
        index: of the proposal.
        members: of the completed trials that it may know, (n, slots), by proposal index.
        values: of these trials, (n, objectives), as Optuna has them.
        directions: of the objectives.
        scores: of these trials, (n,), greater is better. Several objectives become one score, with weights drawn for each proposal.
        pending: members of earlier trials whose values it may not know, (m, slots).
        taken: keys of the members of all trials in any state, see `keys_of`.
        rng: for all that is random in the proposal.
        earlier: gives what the proposal of a smaller index may know.
    """

    index: int
    members: Members
    values: NDArray[np.float64]
    directions: tuple[StudyDirection, ...]
    scores: NDArray[np.float64]
    pending: Members
    taken: Set[bytes]
    rng: random.Random
    earlier: Callable[[int], ObservedTrials]

    def untaken(self, members: Members) -> Members:
        """Those of some members (n, slots) that no trial has."""
        return members[[key not in self.taken for key in keys_of(members)]]


class TrialReader:
    """Reads one study again and again.

    Args:
        directions: of the study's objectives.
        seed: of the proposals' generators.
        staleness: proposal N knows the values of the trials up to N - staleness.
    """

    def __init__(self, rows: Rows, directions: Sequence[StudyDirection], seed: int, staleness: int = 1) -> None:
        self._rows = rows
        self._directions = tuple(directions)
        self._seed = seed
        self._staleness = staleness
        self._num_read = 0
        self._unfinished: list[int] = []
        # By trial number: members that this process has chosen for trials, until Optuna has stored all of their parameters.
        self._chosen: dict[int, Members] = {}
        # Of finished trials.
        self._taken: set[bytes] = set()
        self._by_index: dict[int, Members] = {}
        # Of completed trials, by proposal index.
        self._indices = np.empty(0, dtype=np.int64)
        self._members = np.empty((0, len(rows.names)), dtype=np.int64)
        self._values = np.empty((0, len(self._directions)))

    def observe(self, trials: Sequence[FrozenTrial], index: int, own: int | None = None) -> ObservedTrials:
        """What a proposal may know.

        Args:
            trials: all of the study, by trial number.
            index: of the proposal.
            own: number of the trial that is being proposed, if it is one of `trials`.
        """
        recent = [trials[number] for number in (*self._unfinished, *range(self._num_read, len(trials)))]
        self._num_read = len(trials)
        self._unfinished = [trial.number for trial in recent if not trial.state.is_finished()]
        unfinished = []
        for trial in recent:
            if trial.state.is_finished():
                self._add(trial)
            elif trial.number != own and (member := self._member_of(trial)) is not None:
                unfinished.append((trial, member))
        taken = self._taken | {member.tobytes() for _, member in unfinished}

        def before(index: int) -> ObservedTrials:
            return self._before(index, unfinished, taken, before)

        return before(index)

    def remember(self, trial_number: int, member: Members) -> None:
        """Take note of what was chosen for a trial, before Optuna stores it."""
        self._chosen[trial_number] = member

    def _before(
        self, index: int, unfinished: Sequence[tuple[FrozenTrial, Members]], taken: Set[bytes], earlier: Callable[[int], ObservedTrials]
    ) -> ObservedTrials:
        last_known = index - self._staleness
        pending = {other: member for other in range(last_known + 1, index) if (member := self._by_index.get(other)) is not None}
        for trial, member in unfinished:
            # An earlier one counts as pending, too, if it still runs: a plain Optuna study does not wait for it.
            if index_of(trial) < index and (last_known < index_of(trial) or trial.state is TrialState.RUNNING):
                pending[index_of(trial)] = member
        count = int(np.searchsorted(self._indices, last_known, side="right"))
        rng, values = random.Random(f"{self._seed}/{index}"), self._values[:count]
        return ObservedTrials(
            index, self._members[:count], values, self._directions, _scores(values, self._directions, rng),
            np.array([pending[other] for other in sorted(pending)], dtype=np.int64).reshape(-1, len(self._rows.names)), taken, rng, earlier,
        )  # fmt: skip

    def _add(self, trial: FrozenTrial) -> None:
        self._chosen.pop(trial.number, None)
        member, index = member_of(trial, self._rows), index_of(trial)
        if member is None:
            return
        self._taken.add(member.tobytes())
        self._by_index[index] = member
        if trial.state is TrialState.COMPLETE:
            at = int(np.searchsorted(self._indices, index))
            self._indices = np.insert(self._indices, at, index)
            self._members = np.insert(self._members, at, member, axis=0)
            self._values = np.insert(self._values, at, trial.values, axis=0)

    def _member_of(self, trial: FrozenTrial) -> Members | None:
        member = member_of(trial, self._rows)
        return self._chosen.get(trial.number) if member is None else member


def keys_of(members: Members) -> list[bytes]:
    """The bytes of each row of members (n, slots): equal keys are equal members."""
    whole = np.ascontiguousarray(members)
    return whole.view(f"V{whole.shape[1] * whole.itemsize}").ravel().tolist() if len(whole) else []


def index_of(trial: FrozenTrial) -> int:
    """A trial's index in the sequence of proposals. A trial that repeats an interrupted one has the index of that."""
    return int(trial.user_attrs.get(PROPOSAL_INDEX, trial.number))


def member_of(trial: FrozenTrial, rows: Rows) -> Members | None:
    """The member (slots,) that a trial's parameters name; None if an active slot is missing or has an unknown option."""
    defaults = {name: options[0] for name, options in zip(rows.names, rows.options, strict=True)}
    try:
        member = rows.row(defaults | trial.params)
    except KeyError:
        return None
    active = rows.active(member[None])[0]
    return member if all(name in trial.params for name, is_active in zip(rows.names, active, strict=True) if is_active) else None


def _scores(values: NDArray[np.float64], directions: Sequence[StudyDirection], rng: random.Random) -> NDArray[np.float64]:
    """One score a trial, (n,), greater is better. Of several objectives: an augmented Chebyshev sum with random weights."""
    signs = np.array([1 if direction == StudyDirection.MAXIMIZE else -1 for direction in directions])
    scores = signs * values
    if len(signs) == 1 or not len(values):
        return scores[:, 0]
    finite = np.where(np.isfinite(scores), scores, np.nan)
    best, worst = np.nanmax(finite, axis=0), np.nanmin(finite, axis=0)
    loss = (best - np.clip(scores, worst, best)) / np.where(best > worst, best - worst, 1)
    weights = np.array([rng.expovariate(1) for _ in signs])
    weighted = loss * weights / weights.sum()
    return np.asarray(-weighted.max(axis=1) - SUM_WEIGHT * weighted.sum(axis=1))
