"""What a study holds, as rows: read anew for every proposal, but each finished trial only once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from proxies.terms import Rows

ROW = "in_band:row"
"""The system attribute of a trial that says which member it stands for, before it is asked for its slots."""
SUM_WEIGHT = 0.05
"""What the sum of several objectives counts beside the worst of them (Knowles, https://doi.org/10.1109/TEVC.2005.851274)."""


@dataclass(frozen=True)
class Past:
    """What a study holds when trial `trial` begins.

    Args:
        rows: members of the finished trials with values, (n, slots), oldest first.
        scores: of these, (n,), greater for the better. Several objectives are one score here, weighed anew for every trial.
        running: members of trials that others evaluate now, (m, slots).
        seen: bytes of the rows of all trials: finished, failed, running and waiting.
        study, trial: for what Optuna's own samplers ask.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    running: NDArray[np.int64]
    seen: frozenset[bytes]
    study: Study
    trial: FrozenTrial

    def new(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some rows that no trial has."""
        return rows[[row.tobytes() not in self.seen for row in rows]]


class History:
    """Reads a study again and again."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._finished: dict[int, tuple[FrozenTrial, NDArray[np.int64] | None, bytes]] = {}

    def past(self, study: Study, trial: FrozenTrial, rng: random.Random) -> Past:
        """What the study holds, the trial itself left out."""
        found, values, running, seen = [], [], [], set()
        for other in study.get_trials(deepcopy=False):
            number = other.number
            if number == trial.number:
                continue
            read, row, key = self._finished.get(number) or self._read(other)
            if row is not None:
                seen.add(key)
                if read.state is TrialState.COMPLETE:
                    found.append(row)
                    values.append(read.values)
                elif read.state is TrialState.RUNNING:
                    running.append(row)
        scores = _scores(values, study.directions, rng)
        return Past(self._stacked(found), scores, self._stacked(running), frozenset(seen), study, trial)

    def _read(self, trial: FrozenTrial) -> tuple[FrozenTrial, NDArray[np.int64] | None, bytes]:
        row = row_of(trial, self._rows)
        read = trial, row, b"" if row is None else row.tobytes()
        if trial.state.is_finished():
            self._finished[trial.number] = read
        return read

    def _stacked(self, rows: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(self._rows.names))


def row_of(trial: FrozenTrial, rows: Rows) -> NDArray[np.int64] | None:
    """The member of any trial, also of one that waits or has just begun; None where it has none of this space.

    Slots that do not count may be missing.
    """
    first = {name: options[0] for name, options in zip(rows.names, rows.options, strict=True)}
    chosen = trial.system_attrs.get(ROW)
    told = (rows.parameters(np.array(chosen)) if chosen else {}) | trial.system_attrs.get("fixed_params", {}) | trial.params
    try:
        row = rows.row(first | told)
    except KeyError:
        return None
    active = rows.active(row[None])[0]
    return row if all(name in told for name, counts in zip(rows.names, active, strict=True) if counts) else None


def _scores(values: Sequence[Sequence[float]], directions: Sequence[StudyDirection], rng: random.Random) -> NDArray[np.float64]:
    """One score a trial, greater for the better: for several objectives an augmented Chebyshev sum with random weights."""
    signs = np.array([1 if direction == StudyDirection.MAXIMIZE else -1 for direction in directions])
    scores = signs * np.array(values, dtype=float).reshape(len(values), len(signs))
    if len(signs) == 1 or not values:
        return scores[:, 0]
    finite = np.where(np.isfinite(scores), scores, np.nan)
    best, worst = np.nanmax(finite, axis=0), np.nanmin(finite, axis=0)
    loss = (best - np.clip(scores, worst, best)) / np.where(best > worst, best - worst, 1)
    weights = np.array([rng.expovariate(1) for _ in signs])
    weighed = loss * weights / weights.sum()
    return np.asarray(-weighed.max(axis=1) - SUM_WEIGHT * weighed.sum(axis=1))
