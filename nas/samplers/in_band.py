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
from optuna.trial import FrozenTrial
from threadpoolctl import ThreadpoolController

from nas.samplers.past import History, Past, place_of
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
    """A sampler that is not there, or a parameter that it cannot serve."""


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
    them give the same sequence, and a study that is continued goes on as if it had never stopped. Parameters that are not slots of the
    space are drawn at random.

    Optuna asks for a member with the first slot that a trial is asked for. What `enqueue_trial` fixes wins over it, as with any of
    Optuna's samplers: a trial of which some slots are fixed, or all of them to something else, may lie outside the band. It then counts
    as evaluated like any other; one that still waits is not known yet.

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

    def choose(self, study: Study, trials: Sequence[FrozenTrial], place: int, own: int | None = None) -> Chosen:
        """A member that no trial has, for this place in the sequence of proposals.

        Args:
            trials: all of the study, in the order of their numbers.
            own: number of the trial that this is for, where it is among them.

        Raises SpaceExhausted where the band holds nothing new.
        """
        past = self._history(study).past(trials, place, self.seed, own)
        # Small matrices lose by several threads, and their sums' last digits depend on how many there are.
        with _libraries().limit(limits=1):
            return self._new(past)

    def _history(self, study: Study) -> History:
        if study not in self._histories:
            self._histories[study] = History(self.band.rows, study.directions, self.lag, self.group)
        return self._histories[study]

    def _new(self, past: Past) -> Chosen:
        passed_over = 0
        for _ in range(MAX_TRIES):
            proposed = self.propose(past)
            for row in proposed.rows:
                if not past.has(row.tobytes()):
                    return Chosen(row, proposed.origin, passed_over)
                passed_over += 1
        for _ in range(MAX_TRIES**2):
            row = self.band.sample_uniform(past.rng)
            if not past.has(row.tobytes()):
                return Chosen(row, "random", passed_over)
            passed_over += 1
        left = [row for row in self.band.members(MAX_LISTED) if not past.has(row.tobytes())]
        if not left:
            raise SpaceExhausted(f"{self.band.space.name}: all architectures within {self.band.budget} have been tried")
        return Chosen(past.rng.choice(left), "random", passed_over)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All slots of the space: a member is chosen as a whole."""
        return dict(self._distributions)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """A member that no trial has, as answers to all slots.

        Raises SpaceExhausted where the band holds nothing new.
        """
        with self._lock:
            row = self.choose(study, study.get_trials(deepcopy=False), place_of(trial), trial.number).row
            # Another thread's trial may begin before this one has been asked for all of its slots.
            self._history(study).choose(trial.number, row)
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

    def __getstate__(self) -> dict[str, Any]:
        """What is read from studies is read again where a copy is used, in another process for instance."""
        return {key: value for key, value in self.__dict__.items() if key not in {"_lock", "_histories"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._histories: WeakKeyDictionary[Study, History] = WeakKeyDictionary()
