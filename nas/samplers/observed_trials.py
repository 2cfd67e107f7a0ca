"""What a proposal may know of its study, as arrays. A study is read for every proposal, but each finished trial is parsed once."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
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
class SourceTrials:
    """Completed trials of another study with the same space and the same evaluator, in another budget for instance.

    Args:
        members: canonical rows (n, slots); they may lie outside the band.
        values: (n, objectives), as Optuna has them.
    """

    members: Members
    values: NDArray[np.float64]


@dataclass(frozen=True)
class ObservedTrials:
    """What one proposal may know of its study.

    Args:
        study: the same object for all that one sampler observes of one study.
        index: of the proposal.
        indices: proposal indices of the completed trials that it may know, (n,), ascending. Source trials come first, below 0.
        members: of these trials, (n, slots).
        values: of these trials, (n, objectives), as Optuna has them.
        directions: of the objectives.
        scores: of these trials, (n,), greater is better. Several objectives become one score, with weights drawn for each proposal.
        pending: members of earlier trials whose values it may not know, (m, slots).
        finished: proposal indices of all finished trials by the key of their member (see `keys_of`), the least index of each.
        unfinished: the same of all trials that have not finished.
        rng: for all that is random in the proposal.
        earlier: gives what the proposal of a smaller index may know.
    """

    study: object
    index: int
    indices: NDArray[np.int64]
    members: Members
    values: NDArray[np.float64]
    directions: tuple[StudyDirection, ...]
    scores: NDArray[np.float64]
    pending: Members
    finished: Mapping[bytes, int]
    unfinished: Mapping[bytes, int]
    rng: random.Random
    earlier: Callable[[int], ObservedTrials]

    @property
    def num_source(self) -> int:
        """How many of the members are those of source trials."""
        return int(np.searchsorted(self.indices, 0))

    def is_taken(self, key: bytes) -> bool:
        """Whether any trial has the member with this key."""
        return key in self.finished or key in self.unfinished

    def is_of_earlier(self, key: bytes) -> bool:
        """Whether a trial of a smaller index has the member with this key. This is the same at any time that the proposal is made."""
        return self.finished.get(key, self.index) < self.index or self.unfinished.get(key, self.index) < self.index

    def untaken(self, members: Members) -> Members:
        """Those of some members (n, slots) that no trial has."""
        return members[[not self.is_taken(key) for key in keys_of(members)]]


class TrialReader:
    """Reads one study again and again.

    Args:
        directions: of the study's objectives.
        seed: of the proposals' generators.
        staleness: proposal N knows the values of the trials up to N - staleness.
        source: what every proposal knows besides.
    """

    def __init__(
        self, rows: Rows, directions: Sequence[StudyDirection], seed: int, staleness: int = 1, source: SourceTrials | None = None
    ) -> None:
        self._rows = rows
        self._directions = tuple(directions)
        self._seed = seed
        self._staleness = staleness
        self._num_read = 0
        self._unfinished: list[int] = []
        # By trial number: members that this process has chosen for trials, until Optuna has stored all of their parameters.
        self._chosen: dict[int, Members] = {}
        self._study = object()
        # Of finished trials.
        self._finished: dict[bytes, int] = {}
        self._by_index: dict[int, Members] = {}
        # Of completed trials, by proposal index; those of source trials are negative.
        self._members = np.empty((0, len(rows.names)), dtype=np.int64) if source is None else source.members
        self._values = np.empty((0, len(self._directions))) if source is None else source.values
        self._indices = np.arange(-len(self._members), 0)

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
        self._add([trial for trial in recent if trial.state.is_finished()])
        unfinished = [
            (trial, member)
            for trial in recent
            if not trial.state.is_finished() and trial.number != own and (member := self._member_of(trial)) is not None
        ]
        unfinished_keys: dict[bytes, int] = {}
        for trial, member in unfinished:
            _keep_least(unfinished_keys, member.tobytes(), index_of(trial))

        def before(index: int) -> ObservedTrials:
            return self._before(index, unfinished, unfinished_keys, before)

        return before(index)

    def remember(self, trial_number: int, member: Members) -> None:
        """Take note of what was chosen for a trial, before Optuna stores it."""
        self._chosen[trial_number] = member

    def _before(
        self, index: int, unfinished: Sequence[tuple[FrozenTrial, Members]], unfinished_keys: Mapping[bytes, int],
        earlier: Callable[[int], ObservedTrials],
    ) -> ObservedTrials:  # fmt: skip
        last_known = index - self._staleness
        pending = {other: member for other in range(last_known + 1, index) if (member := self._by_index.get(other)) is not None}
        for trial, member in unfinished:
            # An earlier one counts as pending, too, if it still runs: a plain Optuna study does not wait for it.
            if index_of(trial) < index and (last_known < index_of(trial) or trial.state is TrialState.RUNNING):
                pending[index_of(trial)] = member
        count = int(np.searchsorted(self._indices, last_known, side="right"))
        rng, values = random.Random(f"{self._seed}/{index}"), self._values[:count]
        return ObservedTrials(
            self._study, index, self._indices[:count], self._members[:count], values, self._directions,
            _scores(values, self._directions, rng),
            np.array([pending[other] for other in sorted(pending)], dtype=np.int64).reshape(-1, len(self._rows.names)),
            self._finished, unfinished_keys, rng, earlier,
        )  # fmt: skip

    def _add(self, trials: Sequence[FrozenTrial]) -> None:
        """Take note of finished trials, all at once: each change of the arrays copies them."""
        complete = []
        for trial in trials:
            self._chosen.pop(trial.number, None)
            member, index = member_of(trial, self._rows), index_of(trial)
            if member is None:
                continue
            _keep_least(self._finished, member.tobytes(), index)
            self._by_index[index] = member
            if trial.state is TrialState.COMPLETE:
                complete.append((index, member, trial.values))
        if complete:
            complete.sort(key=lambda one: one[0])
            indices, members, values = zip(*complete, strict=True)
            at = np.searchsorted(self._indices, indices)
            self._indices = np.insert(self._indices, at, indices)
            self._members = np.insert(self._members, at, members, axis=0)
            self._values = np.insert(self._values, at, values, axis=0)

    def _member_of(self, trial: FrozenTrial) -> Members | None:
        member = member_of(trial, self._rows)
        return self._chosen.get(trial.number) if member is None else member


def keys_of(members: Members) -> list[bytes]:
    """The bytes of each row of members (n, slots): equal keys are equal members."""
    whole = np.ascontiguousarray(members)
    return whole.view(f"V{whole.shape[1] * whole.itemsize}").ravel().tolist() if len(whole) else []


def _keep_least(indices: dict[bytes, int], key: bytes, index: int) -> None:
    indices[key] = min(index, indices.get(key, index))


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
