"""The Optuna side of a search: trials are proposed, told and read back as architectures.

The study alone is the search's memory. Everything a trial means can be read from it: its parameters are the slots of
the space, its user attributes hold cost, fingerprint and score, and the study's own attributes hold the space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import optuna
from sqlalchemy.exc import SQLAlchemyError
from optuna.trial import FrozenTrial, TrialState

from nas.samplers import make_sampler
from proxies.band import Band
from proxies.cost import Cost
from proxies.macs import cost_of
from space.architecture import Architecture
from space.errors import UserError
from space.files import dump_space, parse_space
from space.search_space import SearchSpace
from supernet.accuracy import Score

MAX_ATTEMPTS = 3
"""How often an architecture is evaluated again after its worker died."""


Answer = TypeVar("Answer")


class StudyError(UserError):
    """A study that cannot be opened, or does not hold what was asked of it."""


@dataclass(frozen=True)
class Proposal:
    """An architecture to evaluate, as trial `number` of the study."""

    number: int
    architecture: Architecture
    cost: Cost


@dataclass(frozen=True)
class Result:
    """An evaluated architecture."""

    number: int
    architecture: Architecture
    cost: Cost
    score: Score
    seconds: float

    @property
    def rank_key(self) -> tuple[float, float]:
        """Sorts by accuracy, ties by log-likelihood."""
        return self.score.accuracy, self.score.log_likelihood


class ArchitectureStudy:
    """A search's study: asks a sampler for architectures inside the band, remembers what they scored.

    Args:
        storage: an Optuna storage URL.
        name: of the study inside the storage.
        band: what may be proposed.
        sampler: name of a sampler of `nas.samplers`.
        seed: of the sampler.
    """

    def __init__(self, storage: str, name: str, band: Band, sampler: str, seed: int) -> None:
        self.band = band
        self._study = _quietly(
            lambda: optuna.create_study(
                storage=storage, study_name=name, sampler=make_sampler(sampler, band, seed), direction="maximize", load_if_exists=True
            ),
            storage,
        )
        if "space" not in self._study.user_attrs:
            self._study.set_user_attr("space", dump_space(band.space))
            self._study.set_metric_names(["accuracy"])
        self._open: dict[int, optuna.Trial] = {}
        self._settle()

    def _settle(self) -> None:
        """Give back trials that a process which ended left running."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)
            self._enqueue_again(trial)

    def ask(self) -> Proposal:
        """The next architecture to evaluate: inside the band, and none that a trial has had already."""
        trial = self._study.ask()
        architecture = self.band.space.decide(trial.suggest_categorical)
        if not self.band.contains(architecture):
            raise AssertionError(f"trial {trial.number}: {architecture.fingerprint} lies outside the band")
        cost = cost_of(architecture)
        for key, value in {"macs": cost.macs, "params": cost.params, "fingerprint": architecture.fingerprint}.items():
            trial.set_user_attr(key, value)
        self._open[trial.number] = trial
        return Proposal(trial.number, architecture, cost)

    def tell(self, proposal: Proposal, score: Score, seconds: float) -> Result:
        """Record what a proposal scored, and how long that took."""
        trial = self._open.pop(proposal.number)
        for key, value in asdict(score).items():
            trial.set_user_attr(key, value)
        trial.set_user_attr("seconds", round(seconds, 3))
        self._study.tell(trial, score.accuracy)
        return Result(proposal.number, proposal.architecture, proposal.cost, score, seconds)

    def give_back(self, proposal: Proposal) -> None:
        """A proposal could not be evaluated: count its trial as failed and propose it again, a few times at most."""
        self._study.tell(self._open.pop(proposal.number), state=TrialState.FAIL)
        self._enqueue_again(self._study.trials[proposal.number])

    def _enqueue_again(self, trial: FrozenTrial) -> None:
        attempts = trial.user_attrs.get("attempts", 1)
        if attempts < MAX_ATTEMPTS and len(trial.params) == len(self.band.space.slots):
            self._study.enqueue_trial(trial.params, user_attrs={"attempts": attempts + 1})

    @property
    def num_results(self) -> int:
        """Number of architectures evaluated so far."""
        return len(self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))

    def results(self) -> list[Result]:
        """Everything evaluated so far, best first."""
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return sorted((_result(trial, self.band.space) for trial in trials), key=lambda r: r.rank_key, reverse=True)


def architecture_of_trial(storage: str, name: str | None, number: int) -> tuple[Architecture, Mapping[str, Any]]:
    """The architecture of a trial of any study that a search made, and the trial's user attributes."""
    names = _quietly(lambda: optuna.get_all_study_names(storage), storage)
    if name is None and len(names) != 1:
        raise StudyError(f"{storage}: got {len(names)} studies, expected one; name it with --study-name: {', '.join(names) or 'none there'}")
    if name is not None and name not in names:
        raise StudyError(f"{storage}: got no study {name!r}, expected one of {', '.join(names)}")
    study = optuna.load_study(storage=storage, study_name=name or names[0])
    if not 0 <= number < len(study.trials):
        raise StudyError(f"trial: got {number}, expected 0 to {len(study.trials) - 1}")
    if "space" not in study.user_attrs:
        raise StudyError(f"{storage}: study {study.study_name!r} was not made by a search of this project")
    trial = study.trials[number]
    space = parse_space(study.user_attrs["space"], f"study {study.study_name}")
    return space.replay(trial.params), trial.user_attrs


def _result(trial: FrozenTrial, space: SearchSpace) -> Result:
    attributes = trial.user_attrs
    score = Score(**{field: attributes[field] for field in Score.__dataclass_fields__})
    cost = Cost(attributes["macs"], attributes["params"])
    return Result(trial.number, space.replay(trial.params), cost, score, attributes["seconds"])


def _quietly(open_storage: Callable[[], Answer], storage: str) -> Answer:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return open_storage()
    except (SQLAlchemyError, OSError, ValueError, ImportError) as error:
        raise StudyError(f"storage: cannot open {storage}: {str(error).splitlines()[0]:.200}") from None
