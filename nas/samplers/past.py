"""What a study holds, as rows: read anew for every proposal, but each finished trial only once."""

from __future__ import annotations

import random
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from proxies.band.additive_cost import Rows

PLACE = "place"
"""The user attribute of a trial that says where in the sequence of proposals it stands, where that is not its number."""
SUM_WEIGHT = 0.05
"""What the sum of several objectives counts beside the worst of them (Knowles, https://doi.org/10.1109/TEVC.2005.851274)."""


@dataclass(frozen=True)
class Past:
    """What a trial may know of its study when it begins.

    Args:
        rows: members of trials with values, (n, slots), in the order of their places.
        values: of these, (n, objectives), as they were told.
        directions: of the objectives.
        scores: of these, (n,), greater for the better. Several objectives are one score here, weighed anew for every trial.
        pending: members of earlier trials whose values it may not know, (m, slots), known or not.
        finished, unfinished: bytes of the rows of all trials that have ended, however, and of those that have not.
        rng: of the trial's place, for all that is random in its proposal.
        first: the past of the first place of its group; none where this is the first.
    """

    rows: NDArray[np.int64]
    values: NDArray[np.float64]
    directions: tuple[StudyDirection, ...]
    scores: NDArray[np.float64]
    pending: NDArray[np.int64]
    finished: Set[bytes]
    unfinished: Set[bytes]
    rng: random.Random
    first: Past | None = None

    def has(self, key: bytes) -> bool:
        """Whether a trial stands for the row of these bytes."""
        return key in self.finished or key in self.unfinished

    def new(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some rows that no trial has."""
        return rows[[not self.has(key) for key in keys_of(rows)]]

    @property
    def known(self) -> set[bytes]:
        """Bytes of the rows that are known or pending here; later trials may have others."""
        return {*keys_of(self.rows), *keys_of(self.pending)}


class Reader:
    """Reads a study's trials again and again, and looks at each finished one once."""

    def __init__(self) -> None:
        self._num_read = 0
        # Numbers of those that had not finished then.
        self._unfinished: list[int] = []

    def __call__(self, trials: Sequence[FrozenTrial]) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        """Those that have finished since the last call, and those that have not.

        Args:
            trials: all of the study, in the order of their numbers.
        """
        recent = [trials[number] for number in (*self._unfinished, *range(self._num_read, len(trials)))]
        left = [trial for trial in recent if not trial.state.is_finished()]
        self._num_read, self._unfinished = len(trials), [trial.number for trial in left]
        return [trial for trial in recent if trial.state.is_finished()], left


class History:
    """Reads a study again and again; what a finished trial says is read once.

    Args:
        directions: of the study's objectives.
        lag: the trial in place N may know the values of those in places up to N - lag.
        group: so many places, from a multiple of it on, have the first one's past beside their own.
    """

    def __init__(self, rows: Rows, directions: Sequence[StudyDirection], lag: int = 1, group: int = 1) -> None:
        self._rows = rows
        self._directions = tuple(directions)
        self._lag = lag
        self._group = group
        self._read = Reader()
        self._finished: set[bytes] = set()
        # By trial number: what this process has chosen, and no storage may hold yet.
        self._chosen: dict[int, NDArray[np.int64]] = {}
        self._by_place: dict[int, NDArray[np.int64]] = {}
        # Of trials with values, in the order of their places.
        self._places = np.empty(0, dtype=np.int64)
        self._known = np.empty((0, len(rows.names)), dtype=np.int64)
        self._values = np.empty((0, len(self._directions)))

    def past(self, trials: Sequence[FrozenTrial], place: int, seed: int, own: int | None = None) -> Past:
        """What a trial in this place may know.

        Args:
            trials: all of the study, in the order of their numbers.
            own: number of the trial itself, where it is among them.
        """
        finished, others = self._read(trials)
        for trial in finished:
            self._add(trial)
        unfinished = [(trial, row) for trial in others if trial.number != own and (row := self._row_of(trial)) is not None]
        keys = {row.tobytes() for _, row in unfinished}
        first = place - place % self._group
        at_first = None if first == place else self._past(unfinished, first, seed, keys)
        return self._past(unfinished, place, seed, keys, at_first)

    def choose(self, number: int, row: NDArray[np.int64]) -> None:
        """Remember what a trial stands for, until all of its slots have been asked for."""
        self._chosen[number] = row

    def _row_of(self, trial: FrozenTrial) -> NDArray[np.int64] | None:
        row = row_of(trial, self._rows)
        return self._chosen.get(trial.number) if row is None else row

    def _past(
        self, unfinished: Sequence[tuple[FrozenTrial, NDArray[np.int64]]], place: int, seed: int, keys: Set[bytes],
        first: Past | None = None,
    ) -> Past:  # fmt: skip
        until = place - self._lag
        pending = {its_place: row for its_place in range(until + 1, place) if (row := self._by_place.get(its_place)) is not None}
        for trial, row in unfinished:
            # The value of one that is under way was to be known perhaps, but nobody waited for it.
            if place_of(trial) < place and (until < place_of(trial) or trial.state is TrialState.RUNNING):
                pending[place_of(trial)] = row
        count = int(np.searchsorted(self._places, until, side="right"))
        rng = random.Random(f"{seed}/{place}")
        values = self._values[:count]
        waiting = np.array([pending[its_place] for its_place in sorted(pending)], dtype=np.int64).reshape(-1, len(self._rows.names))
        scores = _scores(values, self._directions, rng)
        return Past(self._known[:count], values, self._directions, scores, waiting, self._finished, keys, rng, first)

    def _add(self, trial: FrozenTrial) -> None:
        row = row_of(trial, self._rows)
        self._chosen.pop(trial.number, None)
        if row is None:
            return
        self._finished.add(row.tobytes())
        place = place_of(trial)
        self._by_place[place] = row
        if trial.state is TrialState.COMPLETE:
            index = int(np.searchsorted(self._places, place))
            self._places = np.insert(self._places, index, place)
            self._known = np.insert(self._known, index, row, axis=0)
            self._values = np.insert(self._values, index, trial.values, axis=0)


def keys_of(rows: NDArray[np.int64]) -> list[bytes]:
    """The bytes of each row (n, slots), all of them in one go."""
    whole = np.ascontiguousarray(rows)
    return whole.view(f"V{whole.shape[1] * whole.itemsize}").ravel().tolist() if len(whole) else []


def fresh(rows: NDArray[np.int64], seen: set[bytes]) -> NDArray[np.int64]:
    """Those of some rows (n, slots) that are not among the bytes `seen`, each once; they are added to these."""
    places = []
    for place, key in enumerate(keys_of(rows)):
        if key not in seen:
            seen.add(key)
            places.append(place)
    return rows[places]


def place_of(trial: FrozenTrial) -> int:
    """The place of a trial in the sequence of proposals; one that repeats another has its place."""
    place = trial.user_attrs.get(PLACE)
    return trial.number if place is None else int(place)


def row_of(trial: FrozenTrial, rows: Rows) -> NDArray[np.int64] | None:
    """The member that a trial's parameters say; None where they say none of this space, or none yet.

    Slots that do not count may be missing.
    """
    first = {name: options[0] for name, options in zip(rows.names, rows.options, strict=True)}
    told = trial.params
    try:
        row = rows.row(first | told)
    except KeyError:
        return None
    active = rows.active(row[None])[0]
    return row if all(name in told for name, counts in zip(rows.names, active, strict=True) if counts) else None


def _scores(values: NDArray[np.float64], directions: Sequence[StudyDirection], rng: random.Random) -> NDArray[np.float64]:
    """One score a trial, greater for the better: for several objectives an augmented Chebyshev sum with random weights."""
    signs = np.array([1 if direction == StudyDirection.MAXIMIZE else -1 for direction in directions])
    scores = signs * values
    if len(signs) == 1 or not len(values):
        return scores[:, 0]
    finite = np.where(np.isfinite(scores), scores, np.nan)
    best, worst = np.nanmax(finite, axis=0), np.nanmin(finite, axis=0)
    loss = (best - np.clip(scores, worst, best)) / np.where(best > worst, best - worst, 1)
    weights = np.array([rng.expovariate(1) for _ in signs])
    weighed = loss * weights / weights.sum()
    return np.asarray(-weighed.max(axis=1) - SUM_WEIGHT * weighed.sum(axis=1))
