"""Evaluations in Ray Tune's actors, and trainings in Ray's tasks, on this machine or a cluster.

Tune places and runs; what to evaluate comes from the study, through a searcher of ours, and goes back to it. Actors
are reused, so each loads its evaluator once. A worker or a node may be lost at any time: what it had begun goes back
to the study, which has it evaluated again, and what it had not begun goes to the next worker.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray._private import ray_constants
from ray.exceptions import RayError, RayTaskError
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from nas.evaluators.supernet import Evaluator
from nas.execution import MakeEvaluator, OnResult, Stop, Workers
from nas.execution.pool import Each, Job, Outcome
from nas.samplers.in_band import SpaceExhausted
from nas.study.architecture_study import ArchitectureStudy
from nas.study.record import Proposal
from space.architecture import Architecture
from space.errors import UserError
from supernet.accuracy import Score

MAX_DEATHS = 3
"""So many workers may die over an architecture before that counts as a failure of its own."""
MAX_IN_A_ROW = 20
"""So many deaths, and one more a worker, with no success between them, end a search."""
MAX_RETRIES = 10
"""How often a training begins again where its worker or node was lost."""
SECONDS_BETWEEN_ASKS = 0.5
"""While there is nothing to evaluate and nothing ends here, others that share the study may end something."""
SECONDS_TO_CONNECT = 10
GPU_PARTS = 10_000
"""Ray knows shares of a GPU this exactly."""
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # Tune would write down again and again what it needs to continue; a search continues from its study.
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),
}
Resources = Mapping[str, float]


class WorkersError(UserError):
    """A cluster that cannot be joined or has no room for a worker, or workers that fail whatever they are given."""


def run_ray(
    study: ArchitectureStudy, make_evaluator: MakeEvaluator, stop: Stop, on_result: OnResult, workers: Workers, folder: Path
) -> None:
    """Evaluate proposals in Ray actors until `stop`.

    Args:
        make_evaluator: called once in every actor; what it reads must be within every node's reach.
        folder: for Tune's own files.
    """
    on_interrupt = signal.getsignal(signal.SIGINT)
    searcher = _StudySearcher(study, stop, on_result, MAX_IN_A_ROW + workers.num_workers)
    try:
        resources = _connect(workers)
        for attempt in range(1, searcher.max_in_a_row + 1):
            try:
                _tuner(searcher, make_evaluator, workers.num_workers, resources, folder / f"tune-{attempt}").fit()
                break
            except Exception as error:
                if searcher.error is not None:
                    break
                # Tune falls over ways for a worker to die that it does not know.
                searcher.lose_all(_in_words(error))
    finally:
        # Tune leaves a handler of its own behind.
        signal.signal(signal.SIGINT, on_interrupt)
        ray.shutdown()
    if searcher.error is not None:
        raise searcher.error
    if not searcher.is_finished:
        # Tune ends by itself on Ctrl-C.
        raise KeyboardInterrupt


def on_ray(workers: Workers) -> Each:
    """So many trainings at a time on a cluster; the folder of their results must be within every node's reach."""

    def each(do: Callable[[Job], Outcome], jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        try:
            resources = _connect(workers)
            task: Any = ray.remote(_call).options(num_cpus=resources["cpu"], num_gpus=resources["gpu"], max_retries=MAX_RETRIES)
            waiting = iter(jobs)
            open_ones: dict[Any, Job] = {}
            while True:
                open_ones |= {task.remote(do, job, resources): job for job in islice(waiting, workers.num_workers - len(open_ones))}
                if not open_ones:
                    return
                finished, _ = ray.wait(list(open_ones))
                for one in finished:
                    yield open_ones.pop(one), _outcome(one)
        finally:
            ray.shutdown()

    return each


def _call(do: Callable[[Job], Outcome], job: Job, resources: Resources) -> Outcome:
    _check_gpu(resources)
    return do(job)


def _outcome(one: Any) -> Any:
    try:
        return ray.get(one)
    except RayTaskError as error:
        raise error.cause from error
    except RayError as error:
        raise WorkersError(f"--backend ray: a training was lost {MAX_RETRIES + 1} times, the last time by {_in_words(error)}") from None


def _in_words(error: BaseException) -> str:
    """An error as one line."""
    told = str(error).strip()
    return f"{type(error).__name__}: {told.splitlines()[0]:.200}" if told else type(error).__name__


def _check_gpu(resources: Resources) -> None:
    """A worker that was given a GPU must not compute without it: hours later somebody would wonder why it is so slow."""
    if not resources["gpu"]:
        return
    import torch

    if not torch.cuda.is_available():
        raise WorkersError(f"--gpus-per-worker: got {resources['gpu']:g}, but PyTorch finds none where the worker runs; 0 does without")


def _connect(workers: Workers) -> Resources:
    """Join or start a cluster; what every worker reserves of it."""
    os.environ.update({name: value for name, value in SETTINGS.items() if name not in os.environ})
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if workers.address is None:
        num_cpus = max(workers.num_workers * workers.cpus, os.cpu_count() or 1)
        with _on_loopback():
            ray.init(address="local", include_dashboard=False, num_cpus=num_cpus, **options)
    else:
        try:
            host, _, port = workers.address.rpartition(":")
            # Ray itself would try for minutes.
            socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()
            ray.init(address=workers.address, **options)
        except (OSError, ValueError, RuntimeError, RayError) as error:
            raise WorkersError(f"--ray-address: cannot join {workers.address}: {_in_words(error)}") from None
    return reserved(workers, [node["Resources"] for node in ray.nodes() if node["Alive"]])


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Have a cluster that is started here listen on this machine's loopback alone.

    Ray does so by itself where it forbids clusters of several machines, as on macOS; on Linux it takes the address of the network,
    even when told the loopback's.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def reserved(workers: Workers, nodes: Sequence[Mapping[str, float]]) -> Resources:
    """What each worker reserves of a cluster.

    Args:
        nodes: what each has, `CPU` and `GPU`.

    Raises WorkersError where no node has as much: Ray would wait for one for ever.
    """
    gpus = _share_of_gpus(sum(node.get("GPU", 0) for node in nodes), workers.num_workers) if workers.gpus is None else workers.gpus
    most = max(node.get("GPU", 0) for node in nodes)
    if gpus > most:
        raise WorkersError(f"--gpus-per-worker: got {gpus:g}, expected no more than {most:g}, the most that a node has")
    most = max(node.get("CPU", 0) for node in nodes if node.get("GPU", 0) >= gpus)
    if workers.cpus > most:
        having = f"a node with {gpus:g} GPUs has" if gpus else "a node has"
        raise WorkersError(f"--cpus-per-worker: got {workers.cpus}, expected no more than {most:g}, the most that {having}")
    return {"cpu": workers.cpus, "gpu": gpus}


def _share_of_gpus(gpus: float, num_workers: int) -> float:
    """A GPU for each worker where there are enough, else as few workers a GPU as possible."""
    if not gpus:
        return 0
    workers_a_gpu = -(-num_workers // int(gpus))
    return GPU_PARTS // workers_a_gpu / GPU_PARTS


def _tuner(searcher: _StudySearcher, make_evaluator: MakeEvaluator, num_workers: int, resources: Resources, folder: Path) -> tune.Tuner:
    trainable = tune.with_parameters(_Evaluation, make_evaluator=make_evaluator, resources=resources)
    return tune.Tuner(
        tune.with_resources(trainable, dict(resources)),
        tune_config=tune.TuneConfig(
            search_alg=searcher, scheduler=_KeepActors(num_workers), num_samples=-1, max_concurrent_trials=num_workers,
            reuse_actors=True, trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=folder.name, storage_path=str(folder.parent.resolve()), verbose=0, callbacks=[_Following(searcher)],
            # Tune's own retries get stuck where an idle worker was lost.
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )  # fmt: skip


class _StudySearcher(Searcher):
    """Hands the study's proposals to Tune, and Tune's results to the study. What a worker died over goes to the next one.

    Args:
        max_in_a_row: so many deaths of workers with no success between them are too many.
    """

    def __init__(self, study: ArchitectureStudy, stop: Stop, on_result: OnResult, max_in_a_row: int) -> None:
        super().__init__()
        self._study, self._stop, self._on_result = study, stop, on_result
        self._open: dict[str, Proposal] = {}
        self._begun: set[str] = set()
        self._returned: deque[Proposal] = deque()
        self._deaths = Counter[int]()
        self._in_a_row = 0
        self._next_ask = 0.0
        self._is_exhausted = False
        self.max_in_a_row = max_in_a_row
        self.is_finished = False
        self.error: Exception | None = None
        """The first thing that went wrong here; Tune listens to no error but one of `suggest`."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # Ray's own hint leaves FINISHED out
        proposal = None
        with self._kept_errors():
            if self._is_over():
                self.is_finished = True
                return Searcher.FINISHED
            proposal = self._returned.popleft() if self._returned else self._asked()
        if self.error is not None:
            raise self.error
        if proposal is None:
            return None
        self._open[trial_id] = proposal
        return {"architecture": proposal.architecture.model_dump_json()}

    def begin(self, trial_id: str) -> None:
        """A worker begins an evaluation."""
        self._begun.add(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if error:
            # `lose` is told why.
            return
        with self._kept_errors():
            proposal, found = self._closed(trial_id), result or {"failure": "it was stopped"}
            if "mistake" in found:
                raise WorkersError(found["mistake"])
            if "failure" in found:
                self._fail(proposal, found["failure"])
                return
            self._in_a_row = 0
            score = Score(**{name: found[name] for name in Score.__dataclass_fields__})
            told = self._study.tell(proposal, score, found["seconds"])
            if told is not None:
                self._on_result(told)

    def lose(self, trial_id: str, reason: str) -> None:
        """A worker died."""
        with self._kept_errors():
            has_begun, proposal = trial_id in self._begun, self._closed(trial_id)
            self._deaths[proposal.number] += has_begun
            self._count(reason)
            if self._deaths[proposal.number] >= MAX_DEATHS:
                self._fail(proposal, reason)
                return
            self._returned.append(proposal)
            if has_begun:
                print(f"trial {proposal.number}: its worker died, another goes on: {reason}", file=sys.stderr, flush=True)

    def lose_all(self, reason: str) -> None:
        """Tune and all workers are gone."""
        with self._kept_errors():
            self._returned.extend([self._closed(trial_id) for trial_id in list(self._open)])
            self._count(reason)

    def _is_over(self) -> bool:
        if self._stop.is_late():
            return True
        if self._open or self._returned:
            # What is under way may fail, and leave room for another.
            return False
        return self._is_exhausted or self._study.num_results >= self._stop.num_results

    def _asked(self) -> Proposal | None:
        if time.monotonic() < self._next_ask:
            return None
        try:
            proposal = self._study.ask(self._stop.num_results)
        except SpaceExhausted:
            proposal, self._is_exhausted = None, True
        if proposal is None:
            self._next_ask = time.monotonic() + SECONDS_BETWEEN_ASKS
        return proposal

    def _closed(self, trial_id: str) -> Proposal:
        self._begun.discard(trial_id)
        self._next_ask, self._is_exhausted = 0.0, False
        return self._open.pop(trial_id)

    def _fail(self, proposal: Proposal, reason: str) -> None:
        print(f"trial {proposal.number}: {reason}", file=sys.stderr, flush=True)
        self._study.fail(proposal, reason)

    def _count(self, reason: str) -> None:
        self._in_a_row += 1
        if self._in_a_row > self.max_in_a_row:
            raise WorkersError(f"--backend ray: {self._in_a_row} times a worker died, with no result between them; the last time: {reason}")

    @contextmanager
    def _kept_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.error = self.error or error

    def __getstate__(self) -> dict[str, Any]:
        # Tune writes its searcher to disk for resuming; a search is resumed from its study instead.
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study is the state."""
        Path(checkpoint_path).write_text("the study holds this searcher's state\n")

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class _Following(tune.Callback):
    """Tells the searcher what Tune tells nobody but callbacks."""

    def __init__(self, searcher: _StudySearcher) -> None:
        self._searcher = searcher

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._searcher.begin(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._searcher.lose(trial.trial_id, Path(trial.error_file).read_text().splitlines()[-1])


class _KeepActors(FIFOScheduler):
    """Has Tune keep workers that have nothing to do for a moment, because the next proposal must know a score that is not there yet.

    Tune keeps one such worker and ends the others, however long they took to load the supernet.
    """

    def __init__(self, num_workers: int) -> None:
        super().__init__()
        self._num_workers = num_workers

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        # There is no public way to say so. Each worker counts once, whatever Tune itself adds and takes off.
        tune_controller._actor_cache.increase_max(trial.placement_group_factory, self._num_workers)
        self._num_workers = 0

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Tune takes them in turn by itself, without going through all that there ever were."""


class _Evaluation(tune.Trainable):
    """An actor: makes its evaluator once, then evaluates one architecture a trial."""

    def setup(self, config: dict[str, Any], make_evaluator: MakeEvaluator, resources: Resources) -> None:  # type: ignore[override]
        import torch

        torch.set_num_threads(int(resources["cpu"]))
        self._make_evaluator, self._resources = make_evaluator, resources
        self._evaluator: Evaluator | None = None
        self._has_failed = False

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        if self._has_failed:
            # A GPU that reported an error, for one, computes nothing any more in this process: another worker goes on.
            ray.actor.exit_actor()
        self.config = new_config
        return True

    def step(self) -> dict[str, Any]:
        try:
            if self._evaluator is None:
                _check_gpu(self._resources)
                self._evaluator = self._make_evaluator()
            start = time.perf_counter()
            score = self._evaluator(Architecture.model_validate_json(self.config["architecture"]))
        except UserError as error:
            return {"mistake": str(error), "seconds": 0.0, "done": True}
        except Exception as error:
            self._has_failed = True
            return {"failure": _in_words(error), "seconds": 0.0, "done": True}
        return {**asdict(score), "seconds": time.perf_counter() - start, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """An evaluation is short; it starts anew instead."""
