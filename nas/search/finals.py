"""Finals: the best of a search train alone for a short while, at equal conditions, before one is called the winner.

Successive halving (https://arxiv.org/abs/1502.07943): all entrants train for few steps, the better half again from the
start for twice as many, and so on. In the last stage everyone trains with several seeds, so that what they differ by
can be held against what seeds differ by.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.evaluators.standalone import BATCH_SIZE, TRAINING_PASSES, Conditions, Trained, Training, default_workers, train_all
from nas.execution.pool import Each
from nas.train.supernet_run import SupernetRun
from space.architecture import Architecture
from space.errors import SpaceError, UserError
from space.files import write_atomically
from supernet.accuracy import Score

if TYPE_CHECKING:
    from nas.search.finalists import Finalist
    from nas.study.record import Result
    from proxies.published import Parent

STEPS = (100, 200, 400)
MIN_STEPS = 50
"""Of the first stage: after fewer a network has hardly begun."""
LEAST_LEFT = 3
LAST_SEEDS = 2
TIED = 2.0
"""Log-likelihoods closer than so many standard errors cannot be told apart."""


@dataclass(frozen=True)
class Entrant:
    """Who takes part.

    Args:
        label: what the table calls it.
        supernet: what it scored in the search; settles ties.
        wins: whether it may be the winner; a published network is there to compare with.
    """

    label: str
    architecture: Architecture
    supernet: Score | None
    wins: bool = True


@dataclass(frozen=True)
class Stage:
    """One stage's scores by fingerprint, one a seed."""

    steps: int
    scores: Mapping[str, tuple[Score, ...]]


@dataclass(frozen=True)
class Finals:
    """How the finals ended.

    Args:
        ranking: all entrants, best first.
        stages: those that everyone of them finished.
        tied: those who cannot be told apart from the best, itself included.
    """

    ranking: tuple[Entrant, ...]
    stages: tuple[Stage, ...]
    tied: tuple[Entrant, ...]

    @property
    def winner(self) -> Entrant:
        """The best of those who may win."""
        return next(entrant for entrant in self.ranking if entrant.wins)

    def provenance(self, architecture: Architecture) -> dict[str, Any]:
        """What an architecture's file tells of them; nothing where it took no part."""
        scores = {stage.steps: stage.scores.get(architecture.fingerprint) for stage in self.stages}
        told = {steps: [round(score.log_likelihood, 4) for score in of_stage] for steps, of_stage in scores.items() if of_stage}
        return {"finals": told} if told else {}


class OutOfTime(Exception):
    """The time was over within a stage; what was trained is kept."""


def entrants_of(
    finalists: Sequence[Finalist], extra: Finalist | None, parents: Sequence[Parent], results: Sequence[Result], run: SupernetRun
) -> list[Entrant]:
    """The finalists of a search, one drawn at random, and the published networks that can stand at the data's image size.

    Args:
        results: of the search, where a published network may be among them.
    """
    entrants = [Entrant(f"trial {one.result.number}", one.result.architecture, one.result.score) for one in finalists]
    if extra is not None:
        entrants.append(Entrant(f"trial {extra.result.number}, random", extra.result.architecture, extra.result.score))
    known = {result.architecture.fingerprint: result.score for result in results}
    for parent in parents:
        fingerprint = parent.architecture.fingerprint
        with suppress(SpaceError):
            # Refused where its last stages would have no map left.
            parent.architecture.replace(image_size=run.image_size)
            if all(fingerprint != entrant.architecture.fingerprint for entrant in entrants):
                entrants.append(Entrant(parent.architecture.name, parent.architecture, known.get(fingerprint), wins=False))
    return entrants


def affordable_steps(results: Sequence[Result], seconds: float, trained: int | None) -> float:
    """How many steps of training the time allows, by how long the evaluations took.

    Args:
        trained: steps of training that an evaluation was; none where it was a supernet's.
    """
    if trained is not None:
        per_step = median(result.seconds for result in results) / trained
    else:
        per_step = median(result.seconds / result.score.num_images for result in results) * TRAINING_PASSES * BATCH_SIZE
    return seconds * default_workers() / per_step


def num_steps(entrants: int, steps: Sequence[int] = STEPS) -> int:
    """Steps of all trainings together."""
    total = 0
    for number, of_stage in enumerate(steps):
        is_last = number == len(steps) - 1
        total += entrants * of_stage * (LAST_SEEDS if is_last else 1)
        entrants = _left(entrants)
    return total


def plan_steps(file: Path, entrants: int, affordable: float = math.inf) -> tuple[int, ...]:
    """Steps of the stages, shortened to what is affordable in all; none where that is not worth the while.

    What was planned once stays: a continued search goes on with the trainings that it has.
    """
    if file.exists():
        try:
            return tuple(map(int, json.loads(file.read_text())))
        except (ValueError, TypeError):
            raise UserError(f"{file}: not the plan of finals; delete it and run again, which plans them anew") from None
    share = min(1.0, affordable / num_steps(entrants))
    steps = tuple(math.floor(share * of_stage) for of_stage in STEPS)
    if steps[0] < MIN_STEPS:
        return ()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(steps) + "\n")
    return steps


def hold_finals(
    conditions: Conditions,
    entrants: Sequence[Entrant],
    steps: Sequence[int],
    each: Each,
    is_late: Callable[[], bool],
    on_result: Callable[[Training, Trained], None],
) -> Finals:
    """Train stage by stage; where the time ends within one, the stages before it decide.

    Args:
        entrants: distinct, in the order of the search.
        each: where trainings run.
    """
    left = list(entrants)
    eliminated: list[Entrant] = []
    stages: list[Stage] = []
    for number, of_stage in enumerate(steps):
        seeds = LAST_SEEDS if number == len(steps) - 1 else 1
        trainings = [Training(entrant.architecture, of_stage, seed) for seed in range(seeds) for entrant in left]

        def follow(training: Training, result: Trained) -> None:
            on_result(training, result)
            if is_late():
                raise OutOfTime

        try:
            results = train_all(conditions, trainings, each, follow)
        except OutOfTime:
            if any(conditions.result_of(training) is None for training in trainings):
                break
            results = {training: found for training in trainings if (found := conditions.result_of(training))}
        scores: dict[str, tuple[Score, ...]] = {}
        for training, result in sorted(results.items(), key=lambda item: item[0].seed):
            fingerprint = training.architecture.fingerprint
            scores[fingerprint] = (*scores.get(fingerprint, ()), result.score)
        stages.append(Stage(of_stage, scores))
        left.sort(key=lambda entrant: -_mean(stages[-1], entrant))
        if number < len(steps) - 1:
            kept = _left(len(left))
            eliminated[:0] = left[kept:]
            left = left[:kept]
    return _settled(left, eliminated, stages)


def _left(entrants: int) -> int:
    """Who stays after a stage: the better half, three at the least, so that there is noise to estimate."""
    return max(min(entrants, LEAST_LEFT), math.ceil(entrants / 2))


def _mean(stage: Stage, entrant: Entrant) -> float:
    return float(np.mean([score.log_likelihood for score in stage.scores[entrant.architecture.fingerprint]]))


def _settled(left: list[Entrant], eliminated: list[Entrant], stages: list[Stage]) -> Finals:
    """Among those who cannot be told apart from the best, the supernet decides."""
    if not stages:
        return Finals((*left, *eliminated), (), tuple(left))
    last = stages[-1]
    # Whoever left after the last finished stage stands in it too, but not before the better half.
    best = left[0]
    close = [entrant for entrant in left if _mean(last, best) - _mean(last, entrant) <= TIED * _stderr_of_difference(last, left)]
    by_supernet = sorted(close, key=lambda entrant: entrant.supernet.log_likelihood if entrant.supernet else -math.inf, reverse=True)
    rest = [entrant for entrant in left if entrant not in close]
    return Finals((*by_supernet, *rest, *eliminated), tuple(stages), tuple(by_supernet))


def _stderr_of_difference(stage: Stage, entrants: Sequence[Entrant]) -> float:
    """Of two entrants' means: what seeds differ by, pooled over entrants, and what a choice of other images would change."""
    scores = [stage.scores[entrant.architecture.fingerprint] for entrant in entrants]
    values = np.array([[score.log_likelihood for score in of_entrant] for of_entrant in scores])
    of_images = float(np.mean([score.log_likelihood_stderr**2 for of_entrant in scores for score in of_entrant]))
    seeds = values.shape[1]
    of_seeds = float(values.var(axis=1, ddof=1).mean()) / seeds if seeds > 1 else 0.0
    return math.sqrt(2 * (of_seeds + of_images))
