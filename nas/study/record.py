"""The reading side of a study: its trials as architectures with costs and scores.

Everything a trial means can be read from the study: its parameters are the slots of the space, its user attributes hold
cost, fingerprint and score, and the study's own attributes hold the space.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import optuna
from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from nas.runs.storage_url import without_password
from nas.samplers.past import place_of
from nas.study.objectives import Objective
from nas.study.schedule import FAILURE, INTERRUPTED
from nas.study.storage import open_storage, told
from nas.study.tally import SCORE
from proxies.cost import Cost, target_of
from space.architecture import Architecture
from space.errors import UserError
from space.files import parse_space
from supernet.accuracy import Score

SECONDS = "seconds"
"""The user attribute of an evaluated trial that says how long that took."""


class StudyError(UserError):
    """A study that cannot be opened, or does not hold what was asked of it."""


@dataclass(frozen=True)
class Proposal:
    """An architecture to evaluate, as trial `number` of the study.

    Args:
        amounts: by quantity, what it costs: `macs`, `params`, predicted latencies in nanoseconds.
        place: in the sequence of proposals; another trial stood in it before if that failed.
    """

    number: int
    architecture: Architecture
    amounts: Mapping[str, int]
    place: int

    @property
    def cost(self) -> Cost:
        """Multiply-adds and parameters."""
        return Cost(self.amounts["macs"], self.amounts["params"])


@dataclass(frozen=True)
class Result(Proposal):
    """An evaluated architecture, and the seconds that its evaluation took."""

    score: Score
    seconds: float

    @property
    def rank_key(self) -> tuple[float, float]:
        """Sorts by log-likelihood, ties by accuracy."""
        return self.score.log_likelihood, self.score.accuracy


class StudyRecord:
    """What a search's study holds, read only."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self.space = parse_space(study.user_attrs["space"], f"study {study.study_name}")
        self.objectives = tuple(Objective(**objective) for objective in study.user_attrs["objectives"])

    @property
    def study(self) -> Study:
        """The study as Optuna knows it."""
        return self._study

    @property
    def num_results(self) -> int:
        """Number of architectures evaluated so far."""
        return len(self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))

    def results(self) -> list[Result]:
        """Everything evaluated so far, best first."""
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return sorted(map(self._result, trials), key=lambda result: result.rank_key, reverse=True)

    def front(self) -> list[Result]:
        """The results that no other equals or beats in every objective and beats in one, most accurate first."""
        results = self.results()
        losses = [tuple(objective.loss(result.score, result.amounts) for objective in self.objectives) for result in results]

        def is_beaten(own: tuple[float, ...]) -> bool:
            return any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in losses)

        return [result for result, own in zip(results, losses, strict=True) if not is_beaten(own)]

    def random_draws(self) -> list[Result]:
        """The results of the trials that were drawn at random inside the band, not bred or modelled."""
        return [result for result in self.results() if self._trial(result.number).user_attrs.get("proposal") == "random"]

    def failures(self) -> dict[int, str]:
        """By trial number, why evaluations failed; those that were interrupted left out, since they were done again."""
        return {number: reason for number, reason in self._reasons().items() if reason != INTERRUPTED}

    def interrupted(self) -> list[int]:
        """Numbers of the trials that were cut off, and done again as other trials."""
        return [number for number, reason in self._reasons().items() if reason == INTERRUPTED]

    def parameters(self, number: int) -> dict[str, Any]:
        """A trial's answers to the slots of the space."""
        return self._trial(number).params

    def architecture(self, number: int) -> Architecture:
        """A trial's architecture."""
        return self.space.replay(self.parameters(number))

    def provenance(self, number: int) -> dict[str, Any]:
        """Where a trial's architecture comes from and what it scored, for its YAML file."""
        attributes = self._trial(number).user_attrs
        return self._origin(number, attributes) | attributes.get(SCORE, {})

    def _origin(self, number: int, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Where a trial with these attributes comes from."""
        # In a fixed order: what is written again is the same.
        found = self._lineage | {"trial": number} | {key: attributes[key] for key in _PROVENANCE}
        predicted = {str(target): amount / 1e6 for quantity, amount in attributes.items() if (target := target_of(quantity))}
        return found | ({"predicted_ms": predicted} if predicted else {})

    @cached_property
    def _lineage(self) -> dict[str, Any]:
        """What all trials have in common: the study never changes it."""
        attributes = self._study.user_attrs
        common = {key: attributes[key] for key in ("budget", "seed", "version")}
        return {"study": self._study.study_name, "space": self.space.name} | common

    def _reasons(self) -> dict[int, str]:
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        return {trial.number: trial.user_attrs.get(FAILURE, "an unknown reason") for trial in trials}

    def _trial(self, number: int) -> FrozenTrial:
        trials = self._study.get_trials(deepcopy=False)
        if not 0 <= number < len(trials):
            raise StudyError(f"trial: got {number}, expected 0 to {len(trials) - 1}")
        if "fingerprint" not in trials[number].user_attrs:
            raise StudyError(f"trial: got {number}, which is {trials[number].state.name.lower()}, expected one that was evaluated")
        return trials[number]

    def _result(self, trial: FrozenTrial) -> Result:
        attributes = trial.user_attrs
        amounts = {key: attributes[key] for key in attributes if key in ("macs", "params") or target_of(key)}
        score, seconds = Score(**attributes[SCORE]), attributes[SECONDS]
        return Result(trial.number, self.space.replay(trial.params), amounts, place_of(trial), score, seconds)


_PROVENANCE = ("macs", "params", "fingerprint")


def open_study(storage: str, name: str | None = None) -> StudyRecord:
    """Open a study that a search made; without a name, the only one of its storage."""
    where = without_password(storage)
    opened = open_storage(storage).optuna
    with told(storage):
        names = [study.study_name for study in opened.get_all_studies()]
        if name is None and len(names) != 1:
            listed = ", ".join(names) or "none there"
            raise StudyError(f"{where}: got {len(names)} studies, expected one; name it with --study-name: {listed}")
        if name is not None and name not in names:
            raise StudyError(f"{where}: got no study {name!r}, expected one of {', '.join(names)}")
        study = optuna.load_study(storage=opened, study_name=name or names[0])
        if "space" not in study.user_attrs:
            raise StudyError(f"{where}: study {study.study_name!r} was not made by a search of this project")
        return StudyRecord(study)
