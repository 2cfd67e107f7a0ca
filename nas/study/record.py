"""The reading side of a study: its trials as architectures with costs and scores.

A study says everything about its trials: their parameters are the active slots of the space, their user attributes hold costs,
fingerprint and score, and the study's own attributes hold the space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import optuna
from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from nas.runs.storage_url import without_password
from nas.samplers.observed_trials import index_of
from nas.study import trial_attributes as attr
from nas.study.objectives import Objective
from nas.study.storage import open_storage, storage_errors
from proxies.cost import Cost, target_of
from proxies.memory_quantity import is_memory, moment_of
from space.architecture import Architecture
from space.errors import UserError
from space.files import parse_space
from supernet.score import Score


class StudyError(UserError):
    """A study that cannot be opened, or does not hold what was asked of it."""


@dataclass(frozen=True)
class Proposal:
    """An architecture to evaluate.

    Args:
        number: of its trial.
        index: in the sequence of proposals. A trial that repeats an interrupted one has the same index.
        parameters: options of the space's active slots.
        costs: by quantity: `macs`, `params`, predicted latencies in nanoseconds.
        proposed_by: a sampler's word, such as `random` or `mutation`, or the name of a published network.
    """

    number: int
    index: int
    parameters: Mapping[str, Any]
    architecture: Architecture
    costs: Mapping[str, int]
    proposed_by: str

    @property
    def cost(self) -> Cost:
        """Multiply-adds and parameters."""
        return Cost(self.costs["macs"], self.costs["params"])


@dataclass(frozen=True)
class Result(Proposal):
    """An evaluated architecture, and the seconds that its evaluation took."""

    score: Score
    seconds: float

    @property
    def rank_key(self) -> tuple[float, float]:
        """Sorts by log-likelihood, ties by the headline figure."""
        return self.score.log_likelihood, self.score.value


@dataclass(frozen=True)
class StudySummary:
    """What became of a study's trials.

    Args:
        results: of the evaluated trials, in the order of their proposals.
        failures: reasons by trial number. Interrupted trials are none, since others repeat them.
        num_duplicates: candidates that samplers dropped, because the study had them already.
    """

    results: Sequence[Result]
    failures: Mapping[int, str]
    num_running: int
    num_interrupted: int
    num_duplicates: int

    @property
    def best(self) -> Result | None:
        """The result of greatest log-likelihood."""
        return max(self.results, key=lambda result: result.rank_key, default=None)


class StudyRecord:
    """What the study of a search holds, read only."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.space = parse_space(study.user_attrs["space"], f"study {study.study_name}")
        self.objectives = tuple(Objective(**objective) for objective in study.user_attrs["objectives"])
        # By trial number; building an architecture takes a millisecond.
        self._results: dict[int, Result] = {}

    @property
    def num_results(self) -> int:
        """Number of architectures evaluated so far."""
        return len(self._trials(TrialState.COMPLETE))

    def summary(self) -> StudySummary:
        """Count the trials of all processes."""
        trials = self._trials()
        failed = [trial for trial in trials if trial.state is TrialState.FAIL]
        failures = {trial.number: trial.user_attrs.get(attr.FAILURE, "an unknown reason") for trial in failed}
        return StudySummary(
            sorted((self._result(trial) for trial in trials if trial.state is TrialState.COMPLETE), key=lambda result: result.index),
            {number: reason for number, reason in failures.items() if reason != attr.INTERRUPTED},
            num_running=sum(trial.state is TrialState.RUNNING for trial in trials),
            num_interrupted=list(failures.values()).count(attr.INTERRUPTED),
            num_duplicates=sum(trial.user_attrs.get(attr.DUPLICATES, 0) for trial in trials),
        )

    def results(self) -> list[Result]:
        """Everything evaluated so far, best first."""
        return sorted(map(self._result, self._trials(TrialState.COMPLETE)), key=lambda result: result.rank_key, reverse=True)

    def front(self) -> list[Result]:
        """The results on the Pareto front of all objectives, most accurate first."""
        return sorted(map(self._result, self.study.best_trials), key=lambda result: result.rank_key, reverse=True)

    def random_draws(self) -> list[Result]:
        """The results of architectures that were drawn at random inside the band."""
        return [result for result in self.results() if result.proposed_by == "random"]

    def proposal(self, number: int) -> Proposal:
        """The proposal of a trial, a `Result` if it was evaluated; StudyError if there is no such trial."""
        trials = self._trials()
        if not 0 <= number < len(trials):
            raise StudyError(f"trial: got {number}, expected 0 to {len(trials) - 1}")
        if "fingerprint" not in trials[number].user_attrs:
            raise StudyError(f"trial: got {number}, which is {trials[number].state.name.lower()}, expected one that was evaluated")
        return self._result(trials[number]) if trials[number].state is TrialState.COMPLETE else self._proposal(trials[number])

    def provenance(self, proposal: Proposal) -> dict[str, Any]:
        """Where an architecture comes from, and its score if it was evaluated, for its YAML file."""
        costs, fingerprint = proposal.cost, proposal.architecture.fingerprint
        origin = self._origin | {"trial": proposal.number, "macs": costs.macs, "params": costs.params, "fingerprint": fingerprint}
        predicted = {str(target): cost / 1e6 for quantity, cost in proposal.costs.items() if (target := target_of(quantity))}
        memory = {moment_of(quantity): cost / 2**20 for quantity, cost in proposal.costs.items() if is_memory(quantity)}
        score = dict(proposal.score.facts) if isinstance(proposal, Result) else {}
        return origin | ({"predicted_ms": predicted} if predicted else {}) | ({"memory_mib": memory} if memory else {}) | score

    @cached_property
    def _origin(self) -> dict[str, Any]:
        attributes = self.study.user_attrs
        shared = {key: attributes[key] for key in ("budget", "seed", "version")}
        return {"study": self.study.study_name, "space": self.space.name} | shared

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def _result(self, trial: FrozenTrial) -> Result:
        if trial.number not in self._results:
            score, seconds = Score.parsed(trial.user_attrs[attr.SCORE]), trial.user_attrs[attr.SECONDS]
            self._results[trial.number] = Result(**vars(self._proposal(trial)), score=score, seconds=seconds)
        return self._results[trial.number]

    def _proposal(self, trial: FrozenTrial) -> Proposal:
        attributes = trial.user_attrs
        costs = {key: attributes[key] for key in attributes if key in ("macs", "params") or target_of(key) or is_memory(key)}
        # The space wants an option for inactive slots, too.
        architecture = self.space.replay({slot: options[0] for slot, options in self.space.slots.items()} | trial.params)
        return Proposal(trial.number, index_of(trial), trial.params, architecture, costs, attributes[attr.PROPOSED_BY])


def open_study(storage: str, name: str | None = None) -> StudyRecord:
    """Open a study that a search made; without a name, the only one of its storage."""
    where = without_password(storage)
    opened = open_storage(storage).optuna
    with storage_errors(storage):
        names = [study.study_name for study in opened.get_all_studies()]
        if name is None and len(names) != 1:
            listed = ", ".join(names) or "none there"
            raise StudyError(f"{where}: got {len(names)} studies, expected one; name it with --study-name: {listed}")
        if name is not None and name not in names:
            raise StudyError(f"{where}: got no study {name!r}, expected one of {', '.join(names)}")
        study = optuna.load_study(storage=opened, study_name=name or names[0])
        # The attribute that a search writes last: without it another process may still be about to write the others.
        if "version" not in study.user_attrs:
            raise StudyError(f"{where}: study {study.study_name!r} was not made by a search of this project")
        return StudyRecord(study)
