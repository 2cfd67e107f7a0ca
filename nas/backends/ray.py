"""Evaluations in Ray Tune's actors, on this machine or a cluster.

Tune places, runs and restarts; what to evaluate comes from the study, through a searcher of ours, and goes back to
it. Actors are reused, so each loads its evaluator once.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from nas.backends import MakeEvaluator, OnResult, Stop, Workers
from nas.samplers import SpaceExhausted
from nas.standalone import Each, Job, Outcome
from nas.study import ArchitectureStudy, Proposal
from space.architecture import Architecture
from space.errors import UserError
from supernet.accuracy import Score


def run_ray(
    study: ArchitectureStudy, make_evaluator: MakeEvaluator, stop: Stop, on_result: OnResult, workers: Workers, folder: Path
) -> None:
    """Evaluate proposals in Ray actors until `stop`.

    Args:
        make_evaluator: called once in every actor; what it reads must be within every node's reach.
        folder: for Tune's own files.
    """
    on_interrupt = signal.getsignal(signal.SIGINT)
    cpus = _connect(workers)
    try:
        searcher = _StudySearcher(study, stop, on_result)
        trainable = tune.with_resources(
            tune.with_parameters(_Evaluation, make_evaluator=make_evaluator, num_threads=cpus), {"cpu": cpus}
        )
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher, num_samples=-1, max_concurrent_trials=workers.num_workers, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                name="tune", storage_path=str(folder.resolve()), verbose=0, failure_config=tune.FailureConfig(max_failures=0)
            ),
        )
        tuner.fit()
    finally:
        # Tune leaves a handler of its own behind.
        signal.signal(signal.SIGINT, on_interrupt)
        ray.shutdown()
    if not searcher.is_finished:
        # Tune ends by itself on Ctrl-C.
        raise KeyboardInterrupt


def on_ray(workers: Workers) -> Each:
    """So many trainings at a time on a cluster; the folder of their results must be within every node's reach."""

    def each(do: Callable[[Job], Outcome], jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        task: Any = ray.remote(_call).options(num_cpus=_connect(workers))
        try:
            open_ones = {task.remote(do, job): job for job in jobs}
            while open_ones:
                finished, _ = ray.wait(list(open_ones))
                for one in finished:
                    yield open_ones.pop(one), ray.get(one)
        finally:
            ray.shutdown()

    return each


def _call(do: Callable[[Job], Outcome], job: Job) -> Outcome:
    return do(job)


def _connect(workers: Workers) -> int:
    """Join or start a cluster; the number of processors for each worker."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if workers.address is None:
        options |= {"include_dashboard": False, "num_cpus": max(workers.num_workers * workers.cpus, os.cpu_count() or 1)}
    try:
        ray.init(address=workers.address, **options)
    except (ConnectionError, ValueError) as error:
        raise UserError(f"--ray-address: cannot join {workers.address}: {str(error).splitlines()[0]:.200}") from None
    return workers.cpus


class _StudySearcher(Searcher):
    """Hands the study's proposals to Tune, and Tune's results to the study."""

    def __init__(self, study: ArchitectureStudy, stop: Stop, on_result: OnResult) -> None:
        super().__init__(metric="accuracy", mode="max")
        self._study, self._stop, self._on_result = study, stop, on_result
        self._open: dict[str, Proposal] = {}
        self.is_finished = False

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # Ray's own hint leaves FINISHED out
        if self._stop.is_late() or self._study.num_results >= self._stop.num_results:
            return self._finished()
        try:
            proposal = self._study.ask(self._stop.num_results)
        except SpaceExhausted:
            return self._finished() if not self._open else None
        if proposal is None:
            return None
        self._open[trial_id] = proposal
        return {"architecture": proposal.architecture.model_dump_json()}

    def _finished(self) -> str:
        self.is_finished = True
        return Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        proposal = self._open.pop(trial_id)
        if error or result is None or "accuracy" not in result:
            self._study.give_back(proposal, "its worker failed")
            return
        score = Score(**{name: result[name] for name in Score.__dataclass_fields__})
        told = self._study.tell(proposal, score, result["seconds"])
        if told is not None:
            self._on_result(told)

    def __getstate__(self) -> dict[str, Any]:
        # Tune writes its searcher to disk for resuming; a search is resumed from its study instead.
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study is the state."""
        Path(checkpoint_path).write_text("the study holds this searcher's state\n")

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class _Evaluation(tune.Trainable):
    """An actor: makes its evaluator once, then evaluates one architecture a trial."""

    def setup(self, config: dict[str, Any], make_evaluator: MakeEvaluator, num_threads: int) -> None:  # type: ignore[override]
        import torch

        torch.set_num_threads(num_threads)
        self._evaluator = make_evaluator()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        return True

    def step(self) -> dict[str, Any]:
        start = time.perf_counter()
        score = self._evaluator(Architecture.model_validate_json(self.config["architecture"]))
        return {**asdict(score), "seconds": time.perf_counter() - start, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """An evaluation is short; it starts anew instead."""
