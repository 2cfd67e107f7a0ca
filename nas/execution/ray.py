"""Workers on a Ray cluster, placed, restarted and ended by Ray Tune.

A worker is a Tune trial that runs until there is nothing left to do. Tune finds room for it, and restarts it, elsewhere if necessary,
when it or its node is lost. Jobs reach it through the dispatcher, an actor on the driver's node. So a job costs two calls, and starts
nothing.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.execution.jobs import Failure, Finished, Job, JobFunction, JobRunner, MakeJobFunction, WorkersError
from nas.execution.resources import Reserved, Resources, reserved_by_worker
from proxies.kept_memory import kept_memory
from space.errors import one_line

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # Tune's thread may call Ray once more after the driver has left the cluster; Ray would start another one for it.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    # Tune would write checkpoints of its own state, which nobody reads: the jobs' source knows what is done.
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),
    # The loop reports a lost worker or node in one line.
    "RAY_DEDUP_LOGS_SKIP_REGEX": r"A worker died or was killed|has been marked dead|Raylet is terminated|\(raylet\)|state-dump",
}
# Ray reads them when it is imported. Variables that the user has set win.
os.environ.update({name: value for name, value in SETTINGS.items() if name not in os.environ})

import ray  # noqa: E402  # reads the environment
from ray import tune  # noqa: E402
from ray.exceptions import RayError  # noqa: E402
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: E402

SECONDS_TO_CONNECT = 10
SECONDS_TO_END = 30
"""Within which workers end by themselves when there is nothing left to do; then they are killed."""
MAX_RECONNECTS = 5
"""How often a lost cluster is joined or started again without a finished job in between."""
SECONDS_BETWEEN_RECONNECTS = 5.0
_Lost = (RayError, ConnectionError, TimeoutError)
"""What Ray's calls raise when the cluster, or this process's node of it, is lost."""
_folders = itertools.count(1)


class RayWorkers:
    """Workers on a cluster, each of which reserves its share of it.

    A lost worker or node costs the job that runs there, which becomes a `Failure`. A lost cluster costs all running jobs; a cluster is
    then joined or started again, a few times at most.

    Args:
        make_function: called once in every worker; every node must be able to read what it reads.
        resources: with the address of a cluster; without, one is started on this machine.
        folder: for Tune's own files.

    Raises:
        WorkersError: the cluster cannot be joined, or has no node with room for a worker.
    """

    def __init__(self, make_function: MakeJobFunction, resources: Resources, folder: Path) -> None:
        self.capacity = resources.num_workers
        self._make_function, self._resources, self._folder = make_function, resources, folder
        self._running: set[int] = set()
        self._reconnects = 0
        try:
            self._open()
        except BaseException:
            ray.shutdown()
            raise

    def submit(self, job: Job[Any]) -> None:
        self._running.add(job.key)
        with contextlib.suppress(*_Lost):
            # `results` handles a lost cluster.
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
        self._running.difference_update(key for key, _ in found)
        return found

    def close(self) -> None:
        if ray.is_initialized():
            with contextlib.suppress(*_Lost):
                ray.get(self._dispatcher.stop.remote(), timeout=SECONDS_TO_END)
                self._tune.join(SECONDS_TO_END)
        ray.shutdown()

    def _open(self) -> None:
        reserved = _connect(self._resources)
        # On the driver's node: they are lost together or not at all.
        on_driver = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = _Dispatcher
        self._dispatcher = actor.options(scheduling_strategy=on_driver).remote()
        self._tune = _Tune(self._make_function, self._dispatcher, self.capacity, reserved, self._folder)
        self._tune.start()

    def _reopened(self, reason: str) -> list[Finished]:
        lost, self._running = self._running, set()
        message = f"--backend ray: the cluster was lost ({reason:.200})"
        ray.shutdown()
        while True:
            self._reconnects += 1
            if self._reconnects > MAX_RECONNECTS:
                raise WorkersError(f"{message}; everything finished so far is kept, the same command continues")
            print(f"{message}; joining it again ({self._reconnects} of {MAX_RECONNECTS})", file=sys.stderr, flush=True)
            time.sleep(SECONDS_BETWEEN_RECONNECTS)
            try:
                self._open()
            except (WorkersError, *_Lost):
                ray.shutdown()
                continue
            return [(key, Failure("the cluster was lost")) for key in lost]


@ray.remote(num_cpus=0)
class _Dispatcher:
    """Passes jobs from the driver to workers, and their results back."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Any]] = deque()
        self._held: dict[str, tuple[str, int]] = {}
        self._results: list[Finished] = []
        self._is_over = False
        self._changed = asyncio.Condition()

    async def put(self, key: int, payload: Any) -> None:
        """Queue a job."""
        async with self._changed:
            self._waiting.append((key, payload))
            self._changed.notify_all()

    async def take(self, worker: str, process: str) -> tuple[int, Any] | None:
        """Wait for a job for a worker; None when there will be no more.

        Args:
            worker: identifier of a Tune trial.
            process: identifies the process that the trial runs in; a restarted trial has another one.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting or self._is_over)
            if self._is_over:
                return None
            key, payload = self._waiting.popleft()
            self._held[worker] = process, key
            return key, payload

    async def finish(self, worker: str, process: str | None, result: Any) -> None:
        """Take the result of the job that a worker holds, unless another process of the worker, not None, has taken it."""
        async with self._changed:
            if worker in self._held and process in (self._held[worker][0], None):
                self._results.append((self._held.pop(worker)[1], result))
                self._changed.notify_all()

    async def results(self, timeout_seconds: float) -> list[Finished]:
        """The jobs that have finished since the last call; waits for one up to the timeout."""
        async with self._changed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait_for(lambda: bool(self._results)), timeout_seconds)
            found, self._results = self._results, []
            return found

    async def stop(self) -> None:
        """Tell all workers that there will be no more jobs."""
        async with self._changed:
            self._is_over = True
            self._changed.notify_all()


class _Tune(threading.Thread):
    """Runs Tune, which blocks, until all workers have ended."""

    def __init__(self, make_function: MakeJobFunction, dispatcher: Any, num_workers: int, reserved: Reserved, folder: Path) -> None:
        super().__init__(daemon=True)
        self.error = ""
        worker = tune.with_parameters(_Worker, make_function=make_function, dispatcher=dispatcher, reserved=reserved)
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
        except Exception as error:  # Whatever made Tune fail, the driver joins the cluster again.
            self.error = f"Ray Tune: {type(error).__name__}: {one_line(error)}"


class _Losses(tune.Callback):
    """Reports lost workers to the dispatcher before Tune restarts them."""

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        ray.get(self._dispatcher.finish.remote(trial.trial_id, None, Failure("its worker was lost")))

    on_trial_error = on_trial_recover


class _Worker(tune.Trainable):
    """Does jobs until there are no more; to Tune, that is one step of one trial."""

    def setup(self, config: dict[str, Any], make_function: MakeJobFunction, dispatcher: Any, reserved: Reserved) -> None:  # type: ignore[override]
        import torch

        torch.set_num_threads(int(reserved["cpu"]))
        self._dispatcher, self._reserved = dispatcher, reserved
        self._make_function = make_function
        self._process = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}"

    def step(self) -> dict[str, Any]:
        with kept_memory():
            self._work()
        return {"done": True}

    def _work(self) -> None:
        run = JobRunner(self._make_checked)
        while (job := ray.get(self._dispatcher.take.remote(self.trial_id, self._process))) is not None:
            result = run(job[1])
            ray.get(self._dispatcher.finish.remote(self.trial_id, self._process, result))
            if isinstance(result, Failure) and result.traceback and self._reserved["gpu"]:
                # After an error on a GPU, its process cannot use it any more; Tune starts another one.
                ray.actor.exit_actor()

    def _make_checked(self) -> JobFunction:
        """Make the function; WorkersError if a worker with a GPU cannot use it: computing without would be too slow."""
        if self._reserved["gpu"]:
            import torch

            if not torch.cuda.is_available():
                got = f"got {self._reserved['gpu']:g}, but PyTorch finds none where the worker runs"
                raise WorkersError(f"--gpus-per-worker: {got}; 0 does without")
        return self._make_function()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Workers have no state to save."""


def _connect(resources: Resources) -> Reserved:
    """Join or start a cluster, and find what every worker reserves of it."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if resources.ray_address is None:
        num_cpus = max(resources.num_workers * resources.cpus, os.cpu_count() or 1)
        ray.init(address="local", include_dashboard=False, num_cpus=num_cpus, **options)
    else:
        try:
            host, _, port = resources.ray_address.rpartition(":")
            # Ray itself would keep trying for minutes.
            socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()
            ray.init(address=resources.ray_address, **options)
        except (OSError, ValueError, RuntimeError, RayError) as error:
            reason = f"{type(error).__name__}: {one_line(error):.200}"
            raise WorkersError(f"--ray-address: cannot join {resources.ray_address}: {reason}") from None
    return reserved_by_worker(resources, [node["Resources"] for node in ray.nodes() if node["Alive"]])
