"""Optuna's tree-structured Parzen estimator, its proposals moved into the budget's band."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.samplers.breeding import Breeder
from nas.samplers.in_band import InBandSampler, Past, Proposed
from proxies.band.additive_cost import AdditiveCost, CategoricalSpace
from proxies.band.band import Band
from proxies.cost import Budget


class InBandTPESampler(InBandSampler):
    """Asks Optuna's `TPESampler` for all slots, and takes the new member of the band that differs from its answer in fewest choices.

    That sampler is shown a copy of the study that holds what may be known, in the order of places.

    Args:
        starts: random draws in the band that come first.
    """

    def __init__(
        self, space: CategoricalSpace, cost: AdditiveCost, budget: Budget, seed: int, *, band: Band | None = None, lag: int = 1,
        starts: int = 10,
    ) -> None:  # fmt: skip
        super().__init__(space, cost, budget, seed, band=band, lag=lag)
        self.starts = starts
        self._breeder = Breeder(self.band)
        self._shown: _Shown | None = None

    def propose(self, past: Past) -> Proposed:
        rng = past.rng
        if len(past.rows) < self.starts:
            return Proposed(self.band.sample(rng)[None], "random")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            tpe = _TPESampler(self._distributions, rng.getrandbits(32))
        study, rows = self._study_of(past), self.band.rows
        study.sampler = tpe
        trial = study.ask(dict(self._distributions))
        study.tell(trial, state=TrialState.FAIL)
        wanted = np.array([options.index(trial.params[name]) for name, options in zip(rows.names, rows.options, strict=True)])
        return Proposed(self._breeder.nearest(wanted, past.new, np.random.default_rng(rng.getrandbits(64))), "tpe")

    def _study_of(self, past: Past) -> optuna.Study:
        """A study that holds what may be known; the one shown before, with what has come since, where that was the same search."""
        if self._shown is None or not self._shown.is_beginning_of(past):
            self._shown = _Shown(optuna.create_study(directions=past.directions), past.rows[:0], past.values[:0])
        shown = len(self._shown.rows)
        for row, values in zip(past.rows[shown:], past.values[shown:], strict=True):
            params = self.band.rows.parameters(row)
            self._shown.study.add_trial(create_trial(params=params, distributions=dict(self._distributions), values=values.tolist()))
        self._shown = _Shown(self._shown.study, past.rows, past.values)
        return self._shown.study

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state | {"_shown": None})


class _TPESampler(TPESampler):
    """Optuna's, told what it would else find out from all trials, for each proposal anew."""

    def __init__(self, distributions: Mapping[str, BaseDistribution], seed: int) -> None:
        super().__init__(seed=seed, n_startup_trials=0, multivariate=True)
        self._of_all = dict(sorted(distributions.items()))

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All slots, by name, which every trial has."""
        return dict(self._of_all)


@dataclass(frozen=True)
class _Shown:
    """A copy of a study, and what is in it."""

    study: optuna.Study
    rows: NDArray[np.int64]
    values: NDArray[np.float64]

    def is_beginning_of(self, past: Past) -> bool:
        count = len(self.rows)
        return np.array_equal(past.rows[:count], self.rows) and np.array_equal(past.values[:count], self.values)
