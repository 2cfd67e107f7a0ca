"""What all samplers share: proposals are members of a band, new to the study, and depend on the study's trials alone."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from proxies.band import Band
from space.architecture import Architecture
from space.errors import SpaceError, UserError

MAX_TRIES = 200
"""Proposals that the study may have seen already, before the band is searched for what is left."""
MAX_LISTED = 20_000
"""Bands of at most so many members are listed in full to find the last ones."""


class SamplerError(UserError, ValueError):
    """A sampler that is not there, or a study that it cannot serve."""


class SpaceExhausted(UserError):
    """Every architecture inside the band is in the study already: the search is complete."""


@dataclass(frozen=True)
class Scored:
    """A finished trial's architecture. `score` is greater for the better."""

    architecture: Architecture
    score: float


@dataclass(frozen=True)
class Past:
    """What a study holds: finished trials with a value, oldest first, and the fingerprints of all trials."""

    scored: tuple[Scored, ...]
    seen: frozenset[str]


@dataclass(frozen=True)
class Proposed:
    """An architecture, and how it came about."""

    architecture: Architecture
    origin: str


class InBandSampler(BaseSampler, ABC):
    """Proposes whole architectures; a subclass says which.

    The randomness of trial N comes from the seed and N, and everything else from the study, so that a study that is
    continued goes on as if it had never stopped. The user attribute `proposal` of a trial says how it came about.

    Args:
        band: the architectures that may be proposed.
        seed: of all randomness.
    """

    def __init__(self, band: Band, seed: int) -> None:
        self.band = band
        self.seed = seed
        self._distributions = {name: CategoricalDistribution(options) for name, options in band.space.slots.items()}
        self._architectures: dict[tuple[str, ...], Architecture | None] = {}

    @abstractmethod
    def propose(self, past: Past, rng: random.Random) -> Proposed:
        """Propose a member of the band. One that the study has seen is not used; then this is asked again."""

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Choose the trial's architecture, unless it is an enqueued one.

        As soon as a trial begins rather than when it is first asked for a slot: another worker sees the choice at once,
        and a slot with a single option, which Optuna answers by itself, is counted.

        Raises SpaceExhausted where the band holds nothing new and SamplerError for a half enqueued trial; the trial then failed.
        """
        try:
            self._choose(study, trial)
        except UserError:
            # Optuna has begun the trial already; nobody else would end it.
            study.tell(trial.number, state=TrialState.FAIL)
            raise

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All slots of the space: an architecture is chosen as a whole."""
        return dict(self._distributions)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """The answers chosen when the trial began."""
        # `trial` is a copy from before that; an enqueued one comes here for slots that are not of the space.
        return study._storage.get_trial(trial._trial_id).system_attrs.get(_ANSWERS, {})

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        """Refuse: a slot answered by itself could lead out of the band."""
        expected = self._distributions.get(param_name, f"a slot of the space {self.band.space.name}")
        raise SamplerError(f"{param_name}: got {param_distribution}, expected {expected}")

    def _choose(self, study: Study, trial: FrozenTrial) -> None:
        if len(study.directions) > 1:
            raise SamplerError(f"study: got {len(study.directions)} objectives, expected one")
        enqueued = trial.system_attrs.get("fixed_params", {})
        if enqueued:
            missing = sorted(self._distributions.keys() - enqueued.keys())
            if missing:
                raise SamplerError(f"trial {trial.number}: {missing[0]}: missing from an enqueued trial, expected an answer to every slot")
            return
        proposed = self._new(self._past(study, trial), random.Random(f"{self.seed}/{trial.number}"))
        study._storage.set_trial_user_attr(trial._trial_id, "proposal", proposed.origin)
        study._storage.set_trial_system_attr(trial._trial_id, _ANSWERS, self.band.space.parameters_of(proposed.architecture))

    def _new(self, past: Past, rng: random.Random) -> Proposed:
        for _ in range(MAX_TRIES):
            proposed = self.propose(past, rng)
            if proposed.architecture.fingerprint not in past.seen:
                return proposed
        for _ in range(MAX_TRIES):
            architecture = self.band.sample_uniform(rng)
            if architecture.fingerprint not in past.seen:
                return Proposed(architecture, "random")
        left = [member for member in self.band.members(MAX_LISTED) if member.fingerprint not in past.seen]
        if not left:
            raise SpaceExhausted(f"{self.band.space.name}: all architectures within {self.band.budget} have been tried")
        return Proposed(rng.choice(left), "random")

    def _past(self, study: Study, trial: FrozenTrial) -> Past:
        sign = 1 if study.direction == StudyDirection.MAXIMIZE else -1
        seen, scored = set(), []
        for other in study.get_trials(deepcopy=False):
            architecture = None if other.number == trial.number else self._architecture(other)
            if architecture is not None:
                seen.add(architecture.fingerprint)
                if other.state == TrialState.COMPLETE:
                    scored.append(Scored(architecture, sign * other.values[0]))
        return Past(tuple(scored), frozenset(seen))

    def _architecture(self, trial: FrozenTrial) -> Architecture | None:
        """The architecture of any trial, also of one that waits or has just begun; None where it has none of this space."""
        answers: Mapping[str, Any] = trial.params
        if len(answers) < len(self._distributions):
            answers = trial.system_attrs.get("fixed_params") or trial.system_attrs.get(_ANSWERS) or answers
        key = tuple(str(answers.get(name)) for name in self._distributions)
        if key not in self._architectures:
            try:
                self._architectures[key] = self.band.space.replay(answers)
            except SpaceError:
                self._architectures[key] = None
        return self._architectures[key]


_ANSWERS = "in_band:answers"
