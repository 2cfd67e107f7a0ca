"""Workers in processes of this machine. Each may be killed by itself, if memory runs out for instance.

They do not run the program that this process runs. So a script that calls a command needs no `if __name__ == "__main__"`, and what a
script or notebook defines itself is pickled by value, as Ray does it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from types import ModuleType
from typing import Any

import cloudpickle

from nas.execution.jobs import Failure, Finished, Job, JobRunner, MakeJobFunction
from nas.execution.resources import threads
from proxies.kept_memory import kept_memory

KILLED = "its process was killed, perhaps for want of memory"


class Subprocesses:
    """Processes that are started with their first job, and again after they were killed. They end with this process, however it ends.

    Args:
        make_function: called once in each process.
        num_workers: number of processes.
        cpus: threads of each.
    """

    def __init__(self, make_function: MakeJobFunction, num_workers: int, cpus: int = 1) -> None:
        self.capacity = num_workers
        self._make_function, self._cpus = make_function, cpus
        self._idle: list[_Process] = []
        self._busy: dict[_Process, Job[Any]] = {}

    def submit(self, job: Job[Any]) -> None:
        process = self._idle.pop() if self._idle else _start(self._make_function, self._cpus)
        try:
            process.pipe.send(job.payload)
        except OSError:
            # The process was killed while it was idle, which is no failure of this job.
            process.end()
            process = _start(self._make_function, self._cpus)
            process.pipe.send(job.payload)
        self._busy[process] = job

    def results(self, timeout_seconds: float | None) -> Sequence[Finished]:
        ready = connection.wait([process.pipe for process in self._busy], timeout_seconds)
        return [self._result_of(process) for process in list(self._busy) if process.pipe in ready]

    def close(self) -> None:
        for process in [*self._busy, *self._idle]:
            process.end()
        self._busy, self._idle = {}, []

    def _result_of(self, process: _Process) -> Finished:
        job = self._busy.pop(process)
        try:
            result = process.pipe.recv()
        except (EOFError, OSError):
            process.end()
            return job.key, Failure(KILLED)
        self._idle.append(process)
        return job.key, result


@dataclass(frozen=True, eq=False)
class _Process:
    process: multiprocessing.process.BaseProcess
    pipe: connection.Connection

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _start(make_function: MakeJobFunction, cpus: int) -> _Process:
    # Not forked from this process, whose threads would be missing. The server that forks imports what the jobs need, once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, _module_of(make_function)])
    pipe, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, cloudpickle.dumps(make_function), cpus), daemon=True)
    with _hidden_main():
        process.start()
    theirs.close()
    return _Process(process, pipe)


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Keep multiprocessing from running this process's program again in a process that is started."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _module_of(make_function: Any) -> str:
    while isinstance(make_function, partial):
        make_function = make_function.func
    return str(getattr(make_function, "__module__", __name__))


def _serve(pipe: connection.Connection, make_function: bytes, cpus: int) -> None:
    """Do jobs until the other end of the pipe is closed."""
    # Ctrl-C reaches all processes of a terminal; the parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    run = JobRunner(lambda: pickle.loads(make_function)())
    with threads(cpus), kept_memory():
        while True:
            try:
                payload = pipe.recv()
            except EOFError:
                return
            pipe.send(run(payload))


def _end_with_parent() -> None:
    """End when the parent has ended: nobody would read the job's result, and another command may use its files by then."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
