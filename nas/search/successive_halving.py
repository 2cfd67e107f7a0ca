"""Final successive halving: the best architectures of a search train alone, at equal conditions, before one is called the winner.

All candidates train for few steps. After each rung the better half trains again from the start, for twice as many steps
(https://arxiv.org/abs/1502.07943). In the last rung everyone trains with two seeds, so that the differences between networks can be held
against the differences between seeds, and is also measured on the test images, which decide nothing. The number of candidates and the
config decide the rungs; a deadline may end them early, then the finished rungs decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nas.evaluators.standalone import train_all
from nas.evaluators.trainings import Conditions, Trained, Training
from nas.execution.jobs import Workers
from nas.execution.loop import Deadline
from nas.runs.records.halving import CandidateRecord, HalvingRecord
from space.architecture import Architecture
from space.errors import SpaceError
from supernet.score import Score

if TYPE_CHECKING:
    from nas.study.record import Result
    from nas.train.supernet_run import SupernetRun
    from proxies.published import Parent

MOST_RUNGS = 3
LEAST_KEPT = 3
LAST_SEEDS = 2
TIED = 2.0
"""Log-likelihoods closer than so many standard errors cannot be told apart."""

RungScores = Mapping[str, tuple[Score, ...]]
"""What candidates scored in one rung: by fingerprint, one score a seed."""


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

    @property
    def fingerprint(self) -> str:
        """Of its architecture."""
        return self.architecture.fingerprint


def candidates_of(
    best: Sequence[Result], drawn: Result | None, parents: Sequence[Parent], results: Sequence[Result], run: SupernetRun
) -> list[Candidate]:
    """The best of a search, one drawn at random, and the best published network that works at the data's image size.

    Args:
        parents: the most accurate as published first.
        results: of the search, where a published network may be among them.
    """
    found = [Candidate(f"trial {one.number}", one.architecture, one.score) for one in best]
    if drawn is not None:
        found.append(Candidate(f"trial {drawn.number}, random", drawn.architecture, drawn.score))
    scores = {result.architecture.fingerprint: result.score for result in results}
    for parent in parents:
        fingerprint = parent.architecture.fingerprint
        # Its last stages may have no map left at this size.
        with suppress(SpaceError):
            parent.architecture.replace(image_size=run.image_size)
            if all(fingerprint != one.fingerprint for one in found):
                found.append(Candidate(parent.architecture.name, parent.architecture, scores.get(fingerprint), competes=False))
            break
    return found


def steps_of_rungs(last: int, candidates: int) -> tuple[int, ...]:
    """Steps of the rungs, each half of the next one's, `last` in the last; one rung alone where it would drop none of the candidates."""
    rungs = 1
    while candidates > LEAST_KEPT and rungs < MOST_RUNGS:
        candidates, rungs = _num_kept(candidates), rungs + 1
    return tuple(max(last >> (rungs - 1 - rung), 1) for rung in range(rungs))


def num_steps(candidates: int, steps: Sequence[int]) -> int:
    """Steps of all trainings together."""
    total = 0
    for rung, of_rung in enumerate(steps):
        total += candidates * of_rung * len(_seeds(rung, steps))
        candidates = _num_kept(candidates)
    return total


def num_tests(candidates: int, steps: Sequence[int]) -> int:
    """Trained networks that are measured on the test images."""
    for _ in steps[:-1]:
        candidates = _num_kept(candidates)
    return candidates * LAST_SEEDS


def halve(
    conditions: Conditions, candidates: Sequence[Candidate], steps: Sequence[int], workers: Workers, deadline: Deadline,
    on_result: Callable[[Training, Trained, bool], None], max_int8_drop: float | None = None,
) -> HalvingRecord:  # fmt: skip
    """Train rung by rung.

    Args:
        candidates: distinct, in the order of the search.
        steps: of the rungs.
        workers: that do trainings.
        deadline: after which no training is begun.
        on_result: see `train_all`.
        max_int8_drop: see `HalvingRecord`; the conditions say whether it is measured.

    Raises:
        JobError, WorkersError: all trainings of a rung failed.
    """
    left, eliminated = list(candidates), list[Candidate]()
    failures, rungs, tests = dict[str, str](), list[RungScores](), dict[str, tuple[Score, ...]]()
    int8 = dict[str, tuple[tuple[Score, Score], ...]]()
    for rung, of_rung in enumerate(steps):
        seeds = _seeds(rung, steps)
        is_last = rung == len(steps) - 1
        trainings = [Training(one.architecture, of_rung, seed, tests=is_last) for seed in seeds for one in left]
        jobs = train_all(conditions, trainings, workers, on_result, deadline)
        failed = {trainings[key].architecture.fingerprint: failure.reason for key, failure in jobs.failures.items()}
        results = {one.fingerprint: _results(conditions, one, of_rung, seeds, is_last) for one in left}
        scores = {fingerprint: tuple(result.score for result in of_one) for fingerprint, of_one in results.items()}
        complete = {fingerprint: of_one for fingerprint, of_one in scores.items() if len(of_one) == len(seeds)}
        if scores.keys() - complete.keys() - failed.keys():
            # The deadline came before the rung was over.
            break
        if not complete:
            jobs.check()
        failures |= failed
        rungs.append(complete)
        int8 |= {key: tuple(one.int8 for one in of_one if one.int8 is not None) for key, of_one in results.items()}
        tests = {key: tuple(one.test for one in of_one if one.test is not None) for key, of_one in results.items()}
        eliminated[:0] = [one for one in left if one.fingerprint not in complete]
        left = sorted((one for one in left if one.fingerprint in complete), key=lambda one: -_mean(rungs[-1], one))
        if not is_last:
            kept = _num_kept(len(left))
            eliminated[:0], left = left[kept:], left[:kept]
    tied, others = _ties(left, rungs)
    records = []
    for one in (*tied, *others, *eliminated):
        scored = tuple(of_rung[one.fingerprint] for of_rung in rungs if one.fingerprint in of_rung)
        test, failure = tests.get(one.fingerprint, ()), failures.get(one.fingerprint, "")
        records.append(
            CandidateRecord(one.label, one.fingerprint, one.competes, scored, failure, test, int8.get(one.fingerprint, ()))
        )
    return HalvingRecord(tuple(steps), len(rungs), tuple(records), tuple(one.label for one in tied), max_int8_drop)


def _seeds(rung: int, steps: Sequence[int]) -> range:
    return range(LAST_SEEDS if rung == len(steps) - 1 else 1)


def _num_kept(candidates: int) -> int:
    """The better half, but three at the least, so that there is noise to estimate."""
    return max(min(candidates, LEAST_KEPT), math.ceil(candidates / 2))


def _results(conditions: Conditions, candidate: Candidate, steps: int, seeds: range, tests: bool) -> list[Trained]:
    found = (conditions.result_of(Training(candidate.architecture, steps, seed, tests=tests)) for seed in seeds)
    return [result for result in found if result is not None]


def _mean(scores: RungScores, candidate: Candidate) -> float:
    return float(np.mean([score.log_likelihood for score in scores[candidate.fingerprint]]))


def _ties(left: Sequence[Candidate], rungs: Sequence[RungScores]) -> tuple[list[Candidate], list[Candidate]]:
    """Those that cannot be told apart from the best, in the order of the search's scores, and the others, best first.

    Args:
        left: of the last rung, best first.
    """
    if not rungs:
        return list(left), []
    last, best = rungs[-1], left[0]
    indifference = TIED * _stderr_of_difference(last, left)
    tied = [one for one in left if _mean(last, best) - _mean(last, one) <= indifference]
    others = [one for one in left if one not in tied]
    return sorted(tied, key=lambda one: one.score.log_likelihood if one.score else -math.inf, reverse=True), others


def _stderr_of_difference(scores: RungScores, candidates: Sequence[Candidate]) -> float:
    """Of two candidates' means: from the variance between seeds, pooled over candidates, and from the choice of images."""
    of_candidates = [scores[one.fingerprint] for one in candidates]
    values = np.array([[score.log_likelihood for score in of_one] for of_one in of_candidates])
    of_images = float(np.mean([score.log_likelihood_stderr**2 for of_one in of_candidates for score in of_one]))
    seeds = values.shape[1]
    of_seeds = float(values.var(axis=1, ddof=1).mean()) / seeds if seeds > 1 else 0.0
    return math.sqrt(2 * (of_seeds + of_images))
