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
RETRY_OF = "in_band:retry_of"
"""The user attribute of a trial that repeats a failed one: whose place it takes."""
SUM_WEIGHT = 0.05
"""What the sum of several objectives counts beside the worst of them (Knowles, https://doi.org/10.1109/TEVC.2005.851274)."""


@dataclass(frozen=True)
class Past:
    """What a trial may know of its study when it begins.

    Args:
        rows: members of trials with values, (n, slots), in the order of their places.
        scores: of these, (n,), greater for the better. Several objectives are one score here, weighed anew for every trial.
        pending: members of earlier trials whose values it may not know, (m, slots), known or not.
        seen: bytes of the rows of all trials: finished, failed, running and waiting.
        study, trial: for what Optuna's own samplers ask.
        rng: of the trial's place.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    pending: NDArray[np.int64]
    seen: frozenset[bytes]
    study: Study
    trial: FrozenTrial
    rng: random.Random

    def new(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some rows that no trial has."""
        return rows[[row.tobytes() not in self.seen for row in rows]]


class History:
    """Reads a study again and again.

    Args:
        lag: the trial in place N may know the values of those in places up to N - lag.
    """

    def __init__(self, rows: Rows, lag: int = 1) -> None:
        self._rows = rows
        self._lag = lag
        self._finished: dict[int, tuple[FrozenTrial, NDArray[np.int64] | None, bytes]] = {}

    def past(self, study: Study, trial: FrozenTrial, seed: int) -> Past:
        """What the trial may know, itself left out."""
        trials = study.get_trials(deepcopy=False)
        places = places_of(trials)
        until = places[trial.number] - self._lag
        rng = random.Random(f"{seed}/{places[trial.number]}")
        found: dict[int, tuple[NDArray[np.int64], Sequence[float]]] = {}
        pending: dict[int, NDArray[np.int64]] = {}
        seen = set()
        for other in trials:
            number, place = other.number, places[other.number]
            if number == trial.number:
                continue
            read, row, key = self._finished.get(number) or self._read(other)
            if row is None:
                continue
            seen.add(key)
            if until < place < places[trial.number]:
                pending[place] = row
            elif place <= until and read.state is TrialState.COMPLETE:
                found[place] = row, read.values
            elif read.state is TrialState.RUNNING:
                # Its value was to be known, but nobody waited for it.
                pending[place] = row
        known = [found[place] for place in sorted(found)]
        scores = _scores([values for _, values in known], study.directions, rng)
        waiting = [pending[place] for place in sorted(pending)]
        return Past(self._stacked([row for row, _ in known]), scores, self._stacked(waiting), frozenset(seen), study, trial, rng)

    def _read(self, trial: FrozenTrial) -> tuple[FrozenTrial, NDArray[np.int64] | None, bytes]:
        row = row_of(trial, self._rows)
        read = trial, row, b"" if row is None else row.tobytes()
        if trial.state.is_finished():
            self._finished[trial.number] = read
        return read

    def _stacked(self, rows: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(self._rows.names))


def places_of(trials: Sequence[FrozenTrial]) -> list[int]:
    """The place of every trial in the sequence of proposals.

    That is its number, but that trials which repeat failed ones take their places, and those cut off before they stood for a member
    have none (-1).
    """
    places: list[int] = []
    following = 0
    for trial in trials:
        if RETRY_OF in trial.user_attrs:
            places.append(trial.user_attrs[RETRY_OF])
        elif trial.state.is_finished() and not trial.params and ROW not in trial.system_attrs:
            places.append(-1)
        else:
            places.append(following)
            following += 1
    return places


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
