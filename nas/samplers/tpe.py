"""Optuna's tree-structured Parzen estimator, its proposals moved into the budget's band."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.samplers.in_band import Candidates, InBandSampler
from nas.samplers.observed_trials import ObservedTrials, SourceTrials
from nas.samplers.variation import nearest_members
from proxies.band.band import Band


class InBandTPESampler(InBandSampler):
    """Asks Optuna's `TPESampler` for all slots, and proposes the nearest member of the band that no trial has.

    Optuna's sampler sees a copy of the study with the trials that the proposal may know.

    Args:
        n_startup_trials: completed trials before the first model; until then members are drawn at random.
    """

    def __init__(
        self, band: Band, seed: int, *, staleness: int = 1, source: SourceTrials | None = None, n_startup_trials: int = 10
    ) -> None:
        super().__init__(band, seed, staleness=staleness, source=source)
        self.n_startup_trials = n_startup_trials
        self._copy: optuna.Study | None = None
        self._copied: ObservedTrials | None = None

    def propose(self, trials: ObservedTrials) -> Candidates:
        rng = trials.rng
        if len(trials.members) < self.n_startup_trials:
            return self.random_candidate(trials)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            tpe = _TPESampler(self._distributions, rng.getrandbits(32))
        study, rows = self._study_of(trials), self.band.rows
        study.sampler = tpe
        trial = study.ask(dict(self._distributions))
        study.tell(trial, state=TrialState.FAIL)
        wanted = np.array([options.index(trial.params[name]) for name, options in zip(rows.names, rows.options, strict=True)])
        return Candidates(nearest_members(self.band, wanted, trials.untaken, np.random.default_rng(rng.getrandbits(64))), "tpe")

    def _study_of(self, trials: ObservedTrials) -> optuna.Study:
        """A copy of the study: the last one, with the trials completed since, if it holds the first of these trials."""
        count = 0 if self._copied is None else len(self._copied.members)
        if (
            self._copy is None or self._copied is None
            or not np.array_equal(trials.members[:count], self._copied.members)
            or not np.array_equal(trials.values[:count], self._copied.values)
        ):  # fmt: skip
            self._copy, count = optuna.create_study(directions=trials.directions), 0
        for member, values in zip(trials.members[count:], trials.values[count:], strict=True):
            params = self.band.rows.parameters(member)
            self._copy.add_trial(create_trial(params=params, distributions=dict(self._distributions), values=values.tolist()))
        self._copied = trials
        return self._copy

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_copy": None, "_copied": None}


class _TPESampler(TPESampler):
    """Optuna's sampler, without its search through all trials for the slots that all of them have: these are known here."""

    def __init__(self, distributions: Mapping[str, BaseDistribution], seed: int) -> None:
        super().__init__(seed=seed, n_startup_trials=0, multivariate=True)
        self._of_all = dict(sorted(distributions.items()))

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._of_all)
