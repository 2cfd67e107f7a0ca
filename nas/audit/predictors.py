"""Cheaper predictors of a stand-alone training: a supernet, sizes, latencies, zero-cost scores, short trainings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.audit.correlation import Values, mean_ranks
from nas.audit.operator_bias import leave_one_out
from nas.audit.sample import Member
from nas.evaluators.bias_correction import shares_of
from nas.evaluators.supernet import load_evaluator
from nas.evaluators.trainings import Trained, Training
from nas.evaluators.zero_cost import score as zero_cost_scores
from nas.evaluators.zero_cost import training_batch
from nas.train.supernet_run import SupernetRun
from proxies.zero_cost.registry import SCORES

ZERO_COST_IMAGES = 64
REPEATED = frozenset({"macs", "params"})
"""Scores that are sizes, which are counted exactly."""


@dataclass(frozen=True)
class Predictor:
    """A score for every member of a sample; greater is better.

    Args:
        core_seconds: processor time for one architecture; none where it is only counted.
    """

    name: str
    scores: tuple[float, ...]
    core_seconds: float | None = None


def of_sizes(members: Sequence[Member]) -> list[Predictor]:
    """Multiply-adds, parameters and the number of blocks."""
    return [
        Predictor("MACs", tuple(member.macs for member in members)),
        Predictor("params", tuple(member.params for member in members)),
        Predictor("depth", tuple(member.architecture.depth for member in members)),
    ]


def of_latencies(milliseconds: Mapping[str, Sequence[float]]) -> list[Predictor]:
    """One predictor a device; slower networks are expected to be better, like those with more multiply-adds."""
    return [Predictor(f"latency on {device}", tuple(of_device)) for device, of_device in milliseconds.items()]


def of_supernet(run: SupernetRun, members: Sequence[Member], advance: Callable[[], None]) -> list[Predictor]:
    """Log-likelihood and headline figure with shared weights and calibrated batch norms, and log-likelihood normalised by the batch."""
    evaluator = load_evaluator(run)
    start = time.process_time()
    scores = []
    for member in members:
        scores.append(evaluator(member.architecture))
        advance()
    seconds = (time.process_time() - start) / len(members)
    uncalibrated = []
    for member in members:
        uncalibrated.append(evaluator.judged_uncalibrated(member.architecture).score.log_likelihood)
        advance()
    return [
        Predictor("supernet", tuple(one.log_likelihood for one in scores), seconds),
        Predictor(f"supernet, by {run.task.metric}", tuple(one.value for one in scores), seconds),
        Predictor("supernet, not calibrated", tuple(uncalibrated), seconds),
    ]


def without_bias(supernet: Predictor, truth: Values, members: Sequence[Member]) -> Predictor:
    """A supernet's scores less the bias of an architecture's operators, estimated on all other architectures."""
    shares = [shares_of(member.architecture) for member in members]
    return Predictor(f"{supernet.name}, bias subtracted", tuple(leave_one_out(supernet.scores, truth, shares)), supernet.core_seconds)


def of_zero_cost(
    run: SupernetRun, members: Sequence[Member], advance: Callable[[], None], say: Callable[[str], None]
) -> list[Predictor]:
    """Every registered zero-cost score, of untrained networks on one batch of training images.

    Args:
        say: told which scores are left out, and why: those that some member has not.
    """
    failures: dict[str, str] = {}
    images, splits = run.images()
    batch = training_batch(images, splits.train, min(ZERO_COST_IMAGES, len(splits.train)), run.image_size, run.seed)
    scores = [score for name, score in SCORES.items() if name not in REPEATED]
    scored = []
    for member in members:
        scored.append(zero_cost_scores(member.architecture, scores, *batch, run.task, seed=0, failures=failures))
        advance()
    for name, reason in failures.items():
        say(f"the audit leaves out {name}: {reason}")
    return [
        Predictor(one.name, tuple(found.values[i] for found in scored), float(np.mean([found.seconds[i] for found in scored])))
        for i, one in enumerate(scores)
        if one.name not in failures
    ]


def of_short_trainings(trainings: Sequence[Training], results: Mapping[Training, Trained], members: Sequence[Member]) -> list[Predictor]:
    """Stand-alone trainings of few steps, one predictor for each number of steps."""
    predictors = []
    for steps in sorted({training.steps for training in trainings}):
        found = {training.architecture.fingerprint: results[training] for training in trainings if training.steps == steps}
        of_members = [found[member.architecture.fingerprint] for member in members]
        seconds = float(np.mean([one.core_seconds for one in of_members]))
        predictors.append(Predictor(f"{steps} steps alone", tuple(one.score.log_likelihood for one in of_members), seconds))
    return predictors


def with_supernet(supernet: Predictor, short: Sequence[Predictor]) -> list[Predictor]:
    """Averaged ranks of a supernet and each short training; the seconds are the short training's alone."""
    return [Predictor(f"{supernet.name} + {one.name}", tuple(mean_ranks(supernet.scores, one.scores)), one.core_seconds) for one in short]
