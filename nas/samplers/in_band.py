"""What all samplers share: they propose members of a band that the study does not have, and depend on the study's trials alone."""

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial
from threadpoolctl import ThreadpoolController

from nas.samplers.observed_trials import Members, ObservedTrials, SourceTrials, TrialReader, index_of
from proxies.band.band import Band
from space.errors import UserError

MAX_TRIES = 8
"""Calls of `propose`, and after these its square of even draws, that may give only duplicates before the band is listed."""
MAX_LISTED = 20_000
"""Bands of at most so many members are listed in full to find the last ones."""


class SamplerError(UserError, ValueError):
    """An unknown sampler, or a parameter that a sampler cannot serve."""


class SpaceExhausted(UserError):
    """The study has every member of the band: the search is complete."""


@dataclass(frozen=True)
class Candidates:
    """Members of the band (n, slots), the preferred one first, and what proposed them, such as `random` or `mutation`."""

    members: Members
    proposed_by: str


@dataclass(frozen=True)
class Chosen:
    """A member (slots,) for a trial, what proposed it, and how many candidates were dropped as duplicates of earlier trials."""

    member: Members
    proposed_by: str
    num_duplicates: int


class InBandSampler(BaseSampler, ABC):
    """An Optuna sampler that proposes whole members of a band; a subclass says which.

    Proposal N depends on the seed, on N, on the members of earlier trials, and on the values of trials up to N - `staleness`. It does not
    depend on what else has finished. So if no trial starts before all of those have ended, any number of workers up to `staleness` get the
    same sequence, and a continued study gets the sequence of one that never stopped.

    The sampler chooses all slots of a trial when Optuna asks for the first of them. Values that `enqueue_trial` fixes win, as with all
    of Optuna's samplers; such a trial may lie outside the band, and counts as observed once it has started. Parameters that are not
    slots of the space are drawn at random.

    Args:
        band: the members that may be proposed. `proxies.band.enumerated.band_of` makes one of a space, a cost and a budget.
        seed: of all randomness.
        staleness: at least 1.
        source: trials of another study that proposals are learnt from, too. They are not members that the study has.
    """

    def __init__(self, band: Band, seed: int, *, staleness: int = 1, source: SourceTrials | None = None) -> None:
        self.band = band
        self.seed = seed
        self.staleness = staleness
        self.source = source
        self._distributions = {name: CategoricalDistribution(options) for name, options in band.space.slots.items()}
        self.__setstate__({})

    @abstractmethod
    def propose(self, trials: ObservedTrials) -> Candidates:
        """Propose members of the band. If the study has all of them, this is called again."""

    def random_candidate(self, trials: ObservedTrials) -> Candidates:
        """One random member: what most samplers propose before they have observed enough."""
        return Candidates(self.band.sample(trials.rng)[None], "random")

    def choose(self, study: Study, trials: Sequence[FrozenTrial], index: int, own: int | None = None) -> Chosen:
        """Choose a member that no trial has.

        Args:
            trials: all of the study, by trial number.
            index: of the proposal.
            own: number of the trial that is being proposed, if it is one of `trials`.

        Raises:
            SpaceExhausted: the study has all members of the band.
        """
        observed = self._reader(study).observe(trials, index, own)
        # Several threads slow small matrices down, and the last digits of a sum depend on their number.
        with _blas().limit(limits=1):
            return self._choose(observed)

    def _choose(self, trials: ObservedTrials) -> Chosen:
        num_duplicates = 0
        for _ in range(MAX_TRIES):
            candidates = self.propose(trials)
            for member in candidates.members:
                if not trials.is_taken(member.tobytes()):
                    return Chosen(member, candidates.proposed_by, num_duplicates)
                num_duplicates += 1
        for _ in range(MAX_TRIES**2):
            member = self.band.sample_uniform(trials.rng)
            if not trials.is_taken(member.tobytes()):
                return Chosen(member, "random", num_duplicates)
            num_duplicates += 1
        left = [member for member in self.band.members(MAX_LISTED) if not trials.is_taken(member.tobytes())]
        if not left:
            raise SpaceExhausted(f"{self.band.space.name}: all architectures within {self.band.budget} have been tried")
        return Chosen(trials.rng.choice(left), "random", num_duplicates)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._distributions)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        with self._lock:
            member = self.choose(study, study.get_trials(deepcopy=False), index_of(trial), trial.number).member
            # Another thread's trial may start before Optuna has stored all parameters of this one.
            self._reader(study).remember(trial.number, member)
        options = self.band.rows.parameters(member)
        return {
            name: options[name] if self._distributions.get(name) == expected else self.sample_independent(study, trial, name, expected)
            for name, expected in search_space.items()
        }

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        if param_name in self._distributions:
            raise SamplerError(f"{param_name}: got {param_distribution}, expected {self._distributions[param_name]}")
        own = RandomSampler(seed=random.Random(f"{self.seed}/{trial.number}/{param_name}").getrandbits(32))
        return own.sample_independent(study, trial, param_name, param_distribution)

    def _reader(self, study: Study) -> TrialReader:
        if study not in self._readers:
            self._readers[study] = TrialReader(self.band.rows, study.directions, self.seed, self.staleness, self.source)
        return self._readers[study]

    def __getstate__(self) -> dict[str, Any]:
        # A copy, in another process for instance, reads its studies anew.
        return {key: value for key, value in self.__dict__.items() if key not in {"_lock", "_readers"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._readers: WeakKeyDictionary[Study, TrialReader] = WeakKeyDictionary()


@cache
def _blas() -> ThreadpoolController:
    # Cached: finding the loaded libraries takes a while.
    return ThreadpoolController().select(user_api="blas")
