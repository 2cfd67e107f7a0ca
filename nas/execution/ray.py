"""Workers on a Ray cluster, placed, restarted and ended by Ray Tune.

A worker is a Tune trial that runs until there is nothing left to do: Tune finds room for it, and starts it again, elsewhere if need be,
when it or its node is lost. Jobs reach it through one actor beside the driver, the dispatcher, so that a job costs two calls and no
start of anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.execution.jobs import Attempts, Failure, Finished, Job, MakeDo, WorkersError
from nas.execution.resources import Resources
from space.errors import one_line

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # Where Tune's thread asks once more after the cluster was left, Ray would start another one for it.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    # Tune would write down again and again what it needs to continue; whoever hands out the jobs knows what is done.
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),
    # A lost worker or node is told of in one line, by the loop.
    "RAY_DEDUP_LOGS_SKIP_REGEX": r"A worker died or was killed|has been marked dead|Raylet is terminated|\(raylet\)|state-dump",
}
# Ray reads them when it is imported; what the user has set stays.
os.environ.update({name: value for name, value in SETTINGS.items() if name not in os.environ})

import ray  # noqa: E402  # reads the environment
from ray import tune  # noqa: E402
from ray.exceptions import RayError  # noqa: E402
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: E402

SECONDS_TO_CONNECT = 10
SECONDS_TO_END = 30
"""That workers have to end by themselves when there is nothing left to do."""
MAX_RECONNECTS = 5
"""How often a lost cluster is joined or started anew, with nothing done between."""
SECONDS_BETWEEN_RECONNECTS = 5.0
GPU_PARTS = 10_000
"""Ray knows shares of a GPU this exactly."""
_Lost = (RayError, ConnectionError, TimeoutError)
"""What Ray's calls raise when the cluster, or this process's node of it, is no more."""
Reserved = Mapping[str, float]
_folders = itertools.count(1)


class RayWorkers:
    """So many workers on a cluster, each of which reserves its share of it.

    A worker or node that is lost costs the job under way there, which becomes a `Failure`. Where the whole cluster is lost, all jobs under
    way do, and a cluster is joined or started again, a few times at most.

    Args:
        make_do: called once in every worker; what it reads must be within every node's reach.
        resources: with the address of a cluster, or without for one of our own on this machine.
        folder: for Tune's own files.

    Raises:
        WorkersError: the cluster cannot be joined, or has no node with room for a worker.
    """

    def __init__(self, make_do: MakeDo, resources: Resources, folder: Path) -> None:
        self.capacity = resources.num_workers
        self._make_do, self._resources, self._folder = make_do, resources, folder
        self._under_way: set[int] = set()
        self._reconnects = 0
        try:
            self._open()
        except BaseException:
            ray.shutdown()
            raise

    def submit(self, job: Job[Any]) -> None:
        self._under_way.add(job.key)
        with contextlib.suppress(*_Lost):
            # A lost cluster is noticed where results are asked for.
            ray.get(self._dispatcher.put.remote(job.key, job.payload))

    def results(self, timeout_seconds: float | None) -> Sequence[Finished]:
        try:
            while True:
                if not self._tune.is_alive():
                    raise ConnectionError(self._tune.error or "Tune has ended")
                wait = min(timeout_seconds or 1.0, 1.0)
                found: list[Finished] = ray.get(self._dispatcher.results.remote(wait))
                if found or timeout_seconds is not None:
                    break
        except _Lost as error:
            return self._reopened(f"{type(error).__name__}: {one_line(error).partition('.')[0]}".removesuffix(": "))
        if found:
            self._reconnects = 0
        self._under_way.difference_update(key for key, _ in found)
        return found

    def close(self) -> None:
        if ray.is_initialized():
            with contextlib.suppress(*_Lost):
                ray.get(self._dispatcher.stop.remote(), timeout=SECONDS_TO_END)
                self._tune.join(SECONDS_TO_END)
        ray.shutdown()

    def _open(self) -> None:
        reserved = _connect(self._resources)
        # Beside the driver: what takes the one takes the other.
        beside = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = _Dispatcher
        self._dispatcher = actor.options(scheduling_strategy=beside).remote()
        self._tune = _Tune(self._make_do, self._dispatcher, self.capacity, reserved, self._folder)
        self._tune.start()

    def _reopened(self, reason: str) -> list[Finished]:
        lost, self._under_way = self._under_way, set()
        told = f"--backend ray: the cluster was lost ({reason:.200})"
        ray.shutdown()
        while True:
            self._reconnects += 1
            if self._reconnects > MAX_RECONNECTS:
                raise WorkersError(f"{told}; everything finished so far is kept, the same command continues")
            print(f"{told}; joining it again ({self._reconnects} of {MAX_RECONNECTS})", file=sys.stderr, flush=True)
            time.sleep(SECONDS_BETWEEN_RECONNECTS)
            try:
                self._open()
            except (WorkersError, *_Lost):
                ray.shutdown()
                continue
            return [(key, Failure("the cluster was lost")) for key in lost]


@ray.remote(num_cpus=0)
class _Dispatcher:
    """Holds jobs until a worker takes them, and results until the driver takes those."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Any]] = deque()
        self._held: dict[str, tuple[str, int]] = {}
        self._results: list[Finished] = []
        self._is_over = False
        self._changed = asyncio.Condition()

    async def put(self, key: int, payload: Any) -> None:
        """A job of the driver's."""
        async with self._changed:
            self._waiting.append((key, payload))
            self._changed.notify_all()

    async def take(self, worker: str, life: str) -> tuple[int, Any] | None:
        """A job for a worker, as soon as there is one; None when there will be none.

        Args:
            worker: the name of a Tune trial.
            life: tells the processes apart that this trial has had.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting or self._is_over)
            if self._is_over:
                return None
            key, payload = self._waiting.popleft()
            self._held[worker] = life, key
            return key, payload

    async def finish(self, worker: str, life: str, result: Any) -> None:
        """What came of the job that a worker holds; nothing of one that was taken for lost."""
        async with self._changed:
            if self._held.get(worker, ("", 0))[0] == life:
                self._results.append((self._held.pop(worker)[1], result))
                self._changed.notify_all()

    async def lose(self, worker: str, reason: str) -> None:
        """A worker is lost, and the job that it held."""
        async with self._changed:
            if worker in self._held:
                self._results.append((self._held.pop(worker)[1], Failure(reason)))
                self._changed.notify_all()

    async def results(self, timeout_seconds: float) -> list[Finished]:
        """What has finished since the last call, waiting for something for so long."""
        async with self._changed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait_for(lambda: bool(self._results)), timeout_seconds)
            found, self._results = self._results, []
            return found

    async def stop(self) -> None:
        """There will be no more jobs."""
        async with self._changed:
            self._is_over = True
            self._changed.notify_all()


class _Tune(threading.Thread):
    """Runs Tune, which blocks, until all workers have ended."""

    def __init__(self, make_do: MakeDo, dispatcher: Any, num_workers: int, reserved: Reserved, folder: Path) -> None:
        super().__init__(daemon=True)
        self.error = ""
        worker = tune.with_parameters(_Worker, make_do=make_do, dispatcher=dispatcher, reserved=reserved)
        self._tuner = tune.Tuner(
            tune.with_resources(worker, dict(reserved)),
            param_space={"worker": tune.grid_search(list(range(num_workers)))},
            tune_config=tune.TuneConfig(max_concurrent_trials=num_workers, trial_dirname_creator=lambda trial: str(trial.trial_id)),
            run_config=tune.RunConfig(
                name=f"workers-{os.getpid()}-{next(_folders)}", storage_path=str(folder.resolve()), verbose=0,
                callbacks=[_Losses(dispatcher)],
                failure_config=tune.FailureConfig(max_failures=-1),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )  # fmt: skip

    def run(self) -> None:
        try:
            self._tuner.fit()
        except Exception as error:  # Whatever Tune falls over, the driver joins the cluster again.
            self.error = f"Ray Tune: {type(error).__name__}: {one_line(error)}"


class _Losses(tune.Callback):
    """Tells the dispatcher of lost workers before Tune starts them again."""

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._tell(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._tell(trial)

    def _tell(self, trial: Any) -> None:
        ray.get(self._dispatcher.lose.remote(trial.trial_id, "its worker was lost"))


class _Worker(tune.Trainable):
    """An actor that does jobs until there are none; for Tune that is one step of one trial."""

    def setup(self, config: dict[str, Any], make_do: MakeDo, dispatcher: Any, reserved: Reserved) -> None:  # type: ignore[override]
        import torch

        torch.set_num_threads(int(reserved["cpu"]))
        self._dispatcher, self._reserved = dispatcher, reserved
        self._make_do = make_do
        self._life = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}"

    def step(self) -> dict[str, Any]:
        attempt = Attempts(self._checked)
        while (job := ray.get(self._dispatcher.take.remote(self.trial_id, self._life))) is not None:
            result = attempt(job[1])
            ray.get(self._dispatcher.finish.remote(self.trial_id, self._life, result))
            if isinstance(result, Failure) and result.traceback and self._reserved["gpu"]:
                # A GPU that reported an error computes nothing any more in this process: another one goes on.
                ray.actor.exit_actor()
        return {"done": True}

    def _checked(self) -> Any:
        """A worker that was given a GPU must not compute without it: hours later somebody would wonder why it is so slow."""
        if self._reserved["gpu"]:
            import torch

            if not torch.cuda.is_available():
                got = f"got {self._reserved['gpu']:g}, but PyTorch finds none where the worker runs"
                raise WorkersError(f"--gpus-per-worker: {got}; 0 does without")
        return self._make_do()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """There is nothing to save: a worker that is lost starts anew."""


def _connect(resources: Resources) -> Reserved:
    """Join or start a cluster; what every worker reserves of it."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if resources.ray_address is None:
        num_cpus = max(resources.num_workers * resources.cpus, os.cpu_count() or 1)
        ray.init(address="local", include_dashboard=False, num_cpus=num_cpus, **options)
    else:
        try:
            host, _, port = resources.ray_address.rpartition(":")
            # Ray itself would try for minutes.
            socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()
            ray.init(address=resources.ray_address, **options)
        except (OSError, ValueError, RuntimeError, RayError) as error:
            reason = f"{type(error).__name__}: {one_line(error):.200}"
            raise WorkersError(f"--ray-address: cannot join {resources.ray_address}: {reason}") from None
    return reserved_by_worker(resources, [node["Resources"] for node in ray.nodes() if node["Alive"]])


def reserved_by_worker(resources: Resources, nodes: Sequence[Mapping[str, float]]) -> Reserved:
    """What each worker reserves of a cluster.

    Args:
        nodes: what each has, `CPU` and `GPU`.

    Raises:
        WorkersError: no node has as much; Ray would wait for one for ever.
    """
    gpus = resources.gpus
    if gpus is None:
        gpus = _share_of_gpus(sum(node.get("GPU", 0) for node in nodes), resources.num_workers)
    most = max(node.get("GPU", 0) for node in nodes)
    if gpus > most:
        raise WorkersError(f"--gpus-per-worker: got {gpus:g}, expected no more than {most:g}, the most that a node has")
    most = max(node.get("CPU", 0) for node in nodes if node.get("GPU", 0) >= gpus)
    if resources.cpus > most:
        having = f"a node with {gpus:g} GPUs has" if gpus else "a node has"
        raise WorkersError(f"--cpus-per-worker: got {resources.cpus}, expected no more than {most:g}, the most that {having}")
    return {"cpu": resources.cpus, "gpu": gpus}


def _share_of_gpus(gpus: float, num_workers: int) -> float:
    """A GPU for each worker where there are enough, else as few workers a GPU as possible."""
    if not gpus:
        return 0
    workers_a_gpu = -(-num_workers // int(gpus))
    return GPU_PARTS // workers_a_gpu / GPU_PARTS
