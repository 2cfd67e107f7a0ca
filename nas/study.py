"""The Optuna side of a search: trials are proposed, told and read back as architectures.

The study alone is the search's memory. Everything a trial means can be read from it: its parameters are the slots of
the space, its user attributes hold cost, fingerprint and score, and the study's own attributes hold the space.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, TypeVar, cast

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from nas.objectives import Objective
from nas.samplers import make_sampler
from nas.samplers.past import RETRY_OF, places_of, row_of
from proxies.architecture_band import ArchitectureBand
from proxies.cost import Budget, Cost, target_of
from proxies.macs import cost_of
from space.architecture import Architecture
from space.errors import UserError
from space.files import dump_space, parse_space
from space.search_space import Option
from supernet.accuracy import Score

MAX_ATTEMPTS = 3
"""How often an architecture is evaluated again after its worker died."""

Answer = TypeVar("Answer")


class StudyError(UserError):
    """A study that cannot be opened, or does not hold what was asked of it."""


@dataclass(frozen=True)
class Proposal:
    """An architecture to evaluate, as trial `number` of the study.

    Args:
        amounts: by quantity, what it costs: `macs`, `params`, predicted latencies in nanoseconds.
    """

    number: int
    architecture: Architecture
    amounts: Mapping[str, int]

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

    def places(self) -> list[int]:
        """The place of every trial in the sequence of proposals; one that repeats a failed one has its place."""
        return places_of(self._study.get_trials(deepcopy=False))

    @property
    def num_failed(self) -> int:
        """Number of evaluations that failed or were cut off."""
        return len(self._study.get_trials(deepcopy=False, states=(TrialState.FAIL,)))

    def parameters(self, number: int) -> dict[str, Any]:
        """A trial's answers to the slots of the space."""
        return self._trial(number).params

    def architecture(self, number: int) -> Architecture:
        """A trial's architecture."""
        return self.space.replay(self.parameters(number))

    def provenance(self, number: int) -> dict[str, Any]:
        """Where a trial's architecture comes from, for its YAML file."""
        study, attributes = self._study, self._trial(number).user_attrs
        found = {"study": study.study_name, "trial": number, "space": self.space.name}
        found |= {key: study.user_attrs[key] for key in ("budget", "seed", "version")}
        found |= {key: value for key, value in attributes.items() if key in _PROVENANCE}
        predicted = {str(target): amount / 1e6 for quantity, amount in attributes.items() if (target := target_of(quantity))}
        return found | ({"predicted_ms": predicted} if predicted else {})

    def _trial(self, number: int) -> FrozenTrial:
        trials = self._study.get_trials(deepcopy=False)
        if not 0 <= number < len(trials):
            raise StudyError(f"trial: got {number}, expected 0 to {len(trials) - 1}")
        if "fingerprint" not in trials[number].user_attrs:
            raise StudyError(f"trial: got {number}, which is {trials[number].state.name.lower()}, expected one that was evaluated")
        return trials[number]

    def _result(self, trial: FrozenTrial) -> Result:
        attributes = trial.user_attrs
        score = Score(**{field: attributes[field] for field in Score.__dataclass_fields__})
        amounts = {key: attributes[key] for key in attributes if key in ("macs", "params") or target_of(key)}
        return Result(trial.number, self.space.replay(trial.params), amounts, score, attributes["seconds"])


_PROVENANCE = ("macs", "params", "fingerprint", *Score.__dataclass_fields__)


class ArchitectureStudy(StudyRecord):
    """A search's study: asks a sampler for architectures inside the band, remembers what they scored.

    Args:
        storage: an Optuna storage URL.
        name: of the study inside the storage; it is continued where it exists.
        band: what may be proposed.
        budget: what the user asked for; the band's latencies are limited more tightly, by what prediction may err.
        objectives: what a trial is told, accuracy among them.
        sampler: name of a sampler of `nas.samplers`.
        seed: of the sampler.
        lag: of the sampler, as `nas.samplers.in_band.InBandSampler` explains it.
    """

    def __init__(
        self, storage: str, name: str, band: ArchitectureBand, budget: Budget, objectives: Sequence[Objective], sampler: str, seed: int,
        lag: int = 1,
    ) -> None:  # fmt: skip
        proposer = make_sampler(sampler, band, seed, lag)
        directions = [objective.direction for objective in objectives]
        study = _opened(
            storage,
            lambda: optuna.create_study(storage=storage, study_name=name, sampler=proposer, directions=directions, load_if_exists=True),
        )
        facts = {
            "space": dump_space(band.space), "budget": str(budget), "band": str(band.budget), "seed": seed, "lag": lag,
            "objectives": [asdict(objective) for objective in objectives],
        }  # fmt: skip
        found = study.user_attrs
        for key, value in facts.items():
            if found.setdefault(key, value) != value:
                raise StudyError(f"{storage}: study {name!r} is of another search (its {key} differs); choose another --out or --storage")
            study.set_user_attr(key, value)
        study.set_user_attr("version", metadata.version("token-mixer-nas"))
        with warnings.catch_warnings():
            # Experimental in Optuna, and what makes the dashboard name them.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([objective.name for objective in objectives])
        super().__init__(study)
        self.band = band
        self._proposer = proposer
        self._open: dict[int, optuna.Trial] = {}
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._fail(trial.number)

    def is_ready(self) -> bool:
        """Whether the next architecture can be asked for: it may have to know what those under way score."""
        return self._proposer.is_ready(self._study)

    def ask(self) -> Proposal:
        """The next architecture to evaluate: inside the band, and none that a trial has had already."""
        trial = self._study.ask()
        architecture = self.band.space.decide(lambda name, options: cast(Option, trial.suggest_categorical(name, options)))
        # Counted part by part, beside the tables that the sampler went by.
        cost = cost_of(architecture)
        amounts = self.band.amounts(architecture) | {"macs": cost.macs, "params": cost.params}
        if not self.band.budget.admits(amounts):
            raise AssertionError(f"trial {trial.number}: {amounts} lies outside the band of {self.band.budget}")
        for key, value in {**amounts, "fingerprint": architecture.fingerprint}.items():
            trial.set_user_attr(key, value)
        trial.set_constraint("budget", self.band.budget.excess(amounts))
        self._open[trial.number] = trial
        return Proposal(trial.number, architecture, amounts)

    def enqueue(self, architecture: Architecture, origin: str) -> None:
        """Have a member of the band evaluated before anything that the sampler proposes, unless a trial has had it."""
        attributes = {"proposal": origin}
        self._study.enqueue_trial(self.band.space.parameters_of(architecture), user_attrs=attributes, skip_if_exists=True)

    def tell(self, proposal: Proposal, score: Score, seconds: float) -> Result:
        """Record what a proposal scored, and how long that took."""
        trial = self._open.pop(proposal.number)
        for key, value in {**asdict(score), "seconds": round(seconds, 3)}.items():
            trial.set_user_attr(key, value)
        self._study.tell(trial, [objective.value(score, proposal.amounts) for objective in self.objectives])
        return Result(proposal.number, proposal.architecture, proposal.amounts, score, seconds)

    def give_back(self, proposal: Proposal) -> None:
        """A proposal could not be evaluated: its trial failed, and it is proposed again, a few times at most."""
        del self._open[proposal.number]
        self._fail(proposal.number)

    def _fail(self, number: int) -> None:
        self._study.tell(number, state=TrialState.FAIL)
        trials = self._study.get_trials(deepcopy=False)
        trial = trials[number]
        attempts = trial.user_attrs.get("attempts", 1)
        row = row_of(trial, self.band.rows)
        if attempts < MAX_ATTEMPTS and row is not None:
            attributes = {"attempts": attempts + 1, RETRY_OF: places_of(trials)[number]}
            self._study.enqueue_trial(self.band.rows.parameters(row), user_attrs=attributes)


def open_study(storage: str, name: str | None = None) -> StudyRecord:
    """Open a study that a search made; without a name, the only one of its storage."""
    names = _opened(storage, lambda: optuna.get_all_study_names(storage))
    if name is None and len(names) != 1:
        listed = ", ".join(names) or "none there"
        raise StudyError(f"{storage}: got {len(names)} studies, expected one; name it with --study-name: {listed}")
    if name is not None and name not in names:
        raise StudyError(f"{storage}: got no study {name!r}, expected one of {', '.join(names)}")
    study = optuna.load_study(storage=storage, study_name=name or names[0])
    if "space" not in study.user_attrs:
        raise StudyError(f"{storage}: study {study.study_name!r} was not made by a search of this project")
    return StudyRecord(study)


@contextmanager
def reported(storage: str) -> Iterator[None]:
    """Turn what a storage raises, because it cannot be opened, reached or written, into one line."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        raise StudyError(f"storage: {storage}: {_first_line(getattr(cause, 'orig', None) or cause)}") from None


def _opened(storage: str, action: Callable[[], Answer]) -> Answer:
    try:
        with reported(storage):
            return action()
    except (OSError, ValueError, ImportError) as error:
        if isinstance(error, UserError):
            raise
        raise StudyError(f"storage: cannot open {storage}: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    return f"{(str(error) or type(error).__name__).splitlines()[0]:.200}"
