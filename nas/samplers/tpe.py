"""Optuna's tree-structured Parzen estimator, its proposals moved into the budget's band."""

from __future__ import annotations

import random
import warnings

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler

from nas.samplers.breeding import Breeder
from nas.samplers.in_band import InBandSampler, Past, Proposed
from proxies.band import Band
from proxies.cost import Budget
from proxies.terms import AdditiveCost, CategoricalSpace


class InBandTPESampler(InBandSampler):
    """Asks Optuna's `TPESampler` for all slots, and takes the new member of the band that differs from its answer in fewest choices.

    That sampler reads the study itself, so it also knows what has finished too soon: with several workers its sequence is not repeatable.

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

    def propose(self, past: Past, rng: random.Random) -> Proposed:
        if len(past.rows) < self.starts:
            return Proposed(self.band.sample(rng)[None], "random")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            tpe = TPESampler(seed=rng.getrandbits(32), n_startup_trials=0, multivariate=True)
        answers = tpe.sample_relative(past.study, past.trial, self.infer_relative_search_space(past.study, past.trial))
        rows = self.band.rows
        wanted = np.array([options.index(answers[name]) for name, options in zip(rows.names, rows.options, strict=True)])
        return Proposed(self._breeder.nearest(wanted, past.new, np.random.default_rng(rng.getrandbits(64))), "tpe")
