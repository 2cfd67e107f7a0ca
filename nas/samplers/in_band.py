"""What all samplers share: proposals are members of a band, new to the study, and depend on the study's trials alone."""

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Self
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import ThreadpoolController

from nas.samplers.past import ROW, History, Past, place_of, row_of
from proxies.band.additive_cost import AdditiveCost, CategoricalSpace
from proxies.band.band import Band
from proxies.band.enumerated import band_of
from proxies.cost import Budget
from space.errors import UserError

MAX_TRIES = 8
"""Proposals, and after these its square of even draws, that the study may have seen before the band is searched for what is left."""
MAX_LISTED = 20_000
"""Bands of at most so many members are listed in full to find the last ones."""


class SamplerError(UserError, ValueError):
    """A sampler that is not there, or a trial that it cannot serve."""


class SpaceExhausted(UserError):
    """Every member of the band is in the study already: the search is complete."""


@dataclass(frozen=True)
class Proposed:
    """Canonical members of the band (n, slots), the preferred first, and how they came about."""

    rows: NDArray[np.int64]
    origin: str


@dataclass(frozen=True)
class Chosen:
    """A member (slots,) for a trial, how it came about, and how many proposals were passed over for it, since the study has them."""

    row: NDArray[np.int64]
    origin: str
    passed_over: int


@cache
def _libraries() -> ThreadpoolController:
    """The libraries that compute in several threads; to find them takes a while."""
    return ThreadpoolController().select(user_api="blas")


class InBandSampler(BaseSampler, ABC):
    """Proposes members of a space of categorical choices as a whole; a subclass says which.

    What trial N proposes depends on the seed, on N, on the members that trials before it stand for, and on the values of those up to
    N - lag: not on what else has finished meanwhile. So where no trial begins before all those have ended, one worker and up to `lag` of
    them give the same sequence, and a study that is continued goes on as if it had never stopped. The user attribute `proposal` of a
    trial says how it came about. Parameters that are not slots of the space are drawn at random.

    Args:
        space: the choices.
        cost: what they cost.
        budget: what they may cost.
        seed: of all randomness.
        band: the members that may be proposed, where it has been built already.
        lag: at least 1.

    Raises BudgetError where the budget admits nothing.
    """

    group: ClassVar[int] = 1
    """From each multiple of it on, so many places may go on from what is proposed in the first of them."""

    def __init__(
        self, space: CategoricalSpace, cost: AdditiveCost, budget: Budget, seed: int, *, band: Band | None = None, lag: int = 1
    ) -> None:
        self.band = band or band_of(space, cost, budget)
        self.seed = seed
        self.lag = lag
        self._distributions = {name: CategoricalDistribution(options) for name, options in space.slots.items()}
        self.__setstate__({})

    @classmethod
    def over(cls, band: Band, seed: int, lag: int = 1) -> Self:
        """A sampler over a band that has been built already."""
        return cls(band.space, band.cost, band.budget, seed, band=band, lag=lag)

    @abstractmethod
    def propose(self, past: Past) -> Proposed:
        """Propose members of the band. Where the study has seen all of them, this is asked again."""

    def choose(self, study: Study, trials: Sequence[FrozenTrial], place: int) -> Chosen:
        """A member that no trial has, for this place in the sequence of proposals.

        Args:
            trials: all of the study but the one that this is for, if there is one yet.

        Raises SpaceExhausted where the band holds nothing new.
        """
        new_history = History(self.band.rows, study.directions, self.lag, self.group)
        past = self._histories.setdefault(study, new_history).past(trials, place, self.seed)
        # Small matrices lose by several threads, and their sums' last digits depend on how many there are.
        with _libraries().limit(limits=1):
            return self._new(past)

    def _new(self, past: Past) -> Chosen:
        passed_over = 0
        for _ in range(MAX_TRIES):
            proposed = self.propose(past)
            for row in proposed.rows:
                if row.tobytes() not in past.seen:
                    return Chosen(row, proposed.origin, passed_over)
                passed_over += 1
        for _ in range(MAX_TRIES**2):
            row = self.band.sample_uniform(past.rng)
            if row.tobytes() not in past.seen:
                return Chosen(row, "random", passed_over)
            passed_over += 1
        left = [row for row in self.band.members(MAX_LISTED) if row.tobytes() not in past.seen]
        if not left:
            raise SpaceExhausted(f"{self.band.space.name}: all architectures within {self.band.budget} have been tried")
        return Chosen(past.rng.choice(left), "random", passed_over)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Choose the trial's member, unless it is an enqueued one.

        As soon as a trial begins rather than when it is first asked for a slot: another worker sees the choice at once.

        Raises SpaceExhausted where the band holds nothing new, and SamplerError for a trial that was enqueued with some of the slots
        alone or with a member outside the band; the trial then failed.
        """
        try:
            with self._lock:
                self._begin(study, trial)
        except UserError:
            # Optuna has begun the trial already; nobody else would end it.
            study.tell(trial.number, state=TrialState.FAIL)
            raise

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All slots of the space: a member is chosen as a whole."""
        return dict(self._distributions)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """The answers chosen when the trial began."""
        # `trial` is a copy from before that.
        chosen = study._storage.get_trial(trial._trial_id).system_attrs.get(ROW)
        row = self._chosen_for(study, trial).row if chosen is None else np.array(chosen)
        answers = self.band.rows.parameters(row)
        return {
            name: answers[name] if self._distributions.get(name) == expected else self.sample_independent(study, trial, name, expected)
            for name, expected in search_space.items()
        }

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        """Draw a parameter that is not of the space."""
        if param_name in self._distributions:
            raise SamplerError(f"{param_name}: got {param_distribution}, expected {self._distributions[param_name]}")
        own = RandomSampler(seed=random.Random(f"{self.seed}/{trial.number}/{param_name}").getrandbits(32))
        return own.sample_independent(study, trial, param_name, param_distribution)

    def _begin(self, study: Study, trial: FrozenTrial) -> None:
        enqueued = trial.system_attrs.get("fixed_params", {}).keys() & self._distributions.keys()
        if enqueued:
            row = self._enqueued(trial)
        else:
            chosen = self._chosen_for(study, trial)
            row = chosen.row
            study._storage.set_trial_user_attr(trial._trial_id, "proposal", chosen.origin)
        study._storage.set_trial_system_attr(trial._trial_id, ROW, row.tolist())

    def _enqueued(self, trial: FrozenTrial) -> NDArray[np.int64]:
        where = f"trial {trial.number}: enqueued"
        row = row_of(trial, self.band.rows)
        if row is None:
            told = trial.system_attrs["fixed_params"]
            raise SamplerError(f"{where}: got {told}, expected an option of {self.band.space.name} for every slot")
        if not self.band.admits(row[None])[0]:
            costs = dict(zip(self.band.budget.limits, self.band.costs(row[None])[0].tolist(), strict=True))
            raise SamplerError(f"{where}: got costs of {costs}, expected something within {self.band.budget}")
        return row

    def _chosen_for(self, study: Study, trial: FrozenTrial) -> Chosen:
        others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        return self.choose(study, others, place_of(trial))

    def __getstate__(self) -> dict[str, Any]:
        """What is read from studies is read again where a copy is used, in another process for instance."""
        return {key: value for key, value in self.__dict__.items() if key not in {"_lock", "_histories"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._histories: WeakKeyDictionary[Study, History] = WeakKeyDictionary()
