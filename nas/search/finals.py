"""Finals: the best of a search train alone for a short while, at equal conditions, before one is called the winner.

Successive halving (https://arxiv.org/abs/1502.07943): all train for few steps, the better half again from the start for twice as many,
and so on. In the last round everyone trains with two seeds, so that what networks differ by can be held against what seeds differ by.
Which rounds there are follows from the config alone; a deadline may end them early, and then the rounds before decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nas.evaluators.standalone import Conditions, Trained, Training, train_all
from nas.execution.jobs import Workers
from nas.execution.loop import Deadline
from nas.runs.records.finals import Finalist, FinalsRecord
from space.architecture import Architecture
from space.errors import SpaceError
from supernet.accuracy import Score

if TYPE_CHECKING:
    from nas.study.record import Result
    from nas.train.supernet_run import SupernetRun
    from proxies.published import Parent

ROUNDS = 3
LEAST_LEFT = 3
LAST_SEEDS = 2
TIED = 2.0
"""Log-likelihoods closer than so many standard errors cannot be told apart."""


@dataclass(frozen=True)
class Candidate:
    """A network that takes part.

    Args:
        label: what the table calls it.
        score: of the search; settles ties.
        competes: whether it may be the winner; a published network is there to compare with.
    """

    label: str
    architecture: Architecture
    score: Score | None
    competes: bool = True


def candidates_of(
    best: Sequence[Result], drawn: Result | None, parents: Sequence[Parent], results: Sequence[Result], run: SupernetRun
) -> list[Candidate]:
    """The best of a search, one drawn at random, and the published networks that can stand at the data's image size.

    Args:
        results: of the search, where a published network may be among them.
    """
    found = [Candidate(f"trial {one.number}", one.architecture, one.score) for one in best]
    if drawn is not None:
        found.append(Candidate(f"trial {drawn.number}, random", drawn.architecture, drawn.score))
    scores = {result.architecture.fingerprint: result.score for result in results}
    for parent in parents:
        fingerprint = parent.architecture.fingerprint
        with suppress(SpaceError):
            # Refused where its last stages would have no map left.
            parent.architecture.replace(image_size=run.image_size)
            if all(fingerprint != one.architecture.fingerprint for one in found):
                found.append(Candidate(parent.architecture.name, parent.architecture, scores.get(fingerprint), competes=False))
    return found


def steps_of_rounds(last: int) -> tuple[int, ...]:
    """Steps of the rounds, each half of the next one's, `last` in the last."""
    return tuple(max(last >> (ROUNDS - 1 - number), 1) for number in range(ROUNDS))


def num_steps(candidates: int, steps: Sequence[int]) -> int:
    """Steps of all trainings together."""
    total = 0
    for number, of_round in enumerate(steps):
        total += candidates * of_round * (LAST_SEEDS if number == len(steps) - 1 else 1)
        candidates = _num_left(candidates)
    return total


def hold_finals(
    conditions: Conditions,
    candidates: Sequence[Candidate],
    steps: Sequence[int],
    workers: Workers,
    deadline: Deadline,
    on_result: Callable[[Training, Trained], None],
) -> FinalsRecord:
    """Train round by round.

    Args:
        candidates: distinct, in the order of the search.
        steps: of the rounds.
        workers: that do trainings.
        deadline: after which no training is begun.

    Raises:
        JobError, WorkersError: all trainings of a round failed.
    """
    left = list(candidates)
    eliminated: list[Candidate] = []
    failures: dict[str, str] = {}
    rounds: list[Mapping[str, tuple[Score, ...]]] = []
    for number, of_round in enumerate(steps):
        seeds = range(LAST_SEEDS if number == len(steps) - 1 else 1)
        trainings = [Training(one.architecture, of_round, seed) for seed in seeds for one in left]
        jobs = train_all(conditions, trainings, workers, on_result, deadline)
        scores = {one.architecture.fingerprint: _scores(conditions, one, of_round, seeds) for one in left}
        failed = {trainings[key].architecture.fingerprint: failure.reason for key, failure in jobs.failures.items()}
        missing = {fingerprint for fingerprint, of_one in scores.items() if len(of_one) < len(seeds)}
        if missing - failed.keys():
            break
        if len(missing) == len(left):
            jobs.check()
        failures |= failed
        eliminated[:0] = [one for one in left if one.architecture.fingerprint in missing]
        left = [one for one in left if one.architecture.fingerprint not in missing]
        rounds.append({fingerprint: of_one for fingerprint, of_one in scores.items() if fingerprint not in missing})
        left.sort(key=lambda one: -_mean(rounds[-1], one))
        if number < len(steps) - 1:
            kept = _num_left(len(left))
            eliminated[:0] = left[kept:]
            left = left[:kept]
    tied, rest = _settled(left, rounds)
    finalists = []
    for one in (*tied, *rest, *eliminated):
        of_one = (of_round.get(one.architecture.fingerprint, ()) for of_round in rounds)
        scored = tuple(of_round for of_round in of_one if of_round)
        failure = failures.get(one.architecture.fingerprint, "")
        finalists.append(Finalist(one.label, one.architecture.fingerprint, one.competes, scored, failure))
    return FinalsRecord(tuple(steps), len(rounds), tuple(finalists), tuple(one.label for one in tied))


def _scores(conditions: Conditions, candidate: Candidate, steps: int, seeds: range) -> tuple[Score, ...]:
    found = (conditions.result_of(Training(candidate.architecture, steps, seed)) for seed in seeds)
    return tuple(result.score for result in found if result is not None)


def _num_left(candidates: int) -> int:
    """Who stays after a round: the better half, three at the least, so that there is noise to estimate."""
    return max(min(candidates, LEAST_LEFT), math.ceil(candidates / 2))


def _mean(scores: Mapping[str, tuple[Score, ...]], candidate: Candidate) -> float:
    return float(np.mean([score.log_likelihood for score in scores[candidate.architecture.fingerprint]]))


def _settled(left: Sequence[Candidate], rounds: Sequence[Mapping[str, tuple[Score, ...]]]) -> tuple[list[Candidate], list[Candidate]]:
    """Those who cannot be told apart from the best, in the order of the search's scores, and the rest, best first.

    Args:
        left: of the last round, best first.
    """
    if not rounds:
        return list(left), []
    last, best = rounds[-1], left[0]
    tied = [one for one in left if _mean(last, best) - _mean(last, one) <= TIED * _stderr_of_difference(last, left)]
    rest = [one for one in left if one not in tied]
    return sorted(tied, key=lambda one: one.score.log_likelihood if one.score else -math.inf, reverse=True), rest


def _stderr_of_difference(scores: Mapping[str, tuple[Score, ...]], candidates: Sequence[Candidate]) -> float:
    """Of two candidates' means: what seeds differ by, pooled over candidates, and what a choice of other images would change."""
    of_candidates = [scores[one.architecture.fingerprint] for one in candidates]
    values = np.array([[score.log_likelihood for score in of_one] for of_one in of_candidates])
    of_images = float(np.mean([score.log_likelihood_stderr**2 for of_one in of_candidates for score in of_one]))
    seeds = values.shape[1]
    of_seeds = float(values.var(axis=1, ddof=1).mean()) / seeds if seeds > 1 else 0.0
    return math.sqrt(2 * (of_seeds + of_images))
