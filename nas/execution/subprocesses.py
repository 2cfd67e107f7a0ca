"""Workers in processes of this machine, which may be killed one by one, for want of memory for instance.

They do not run the program that this one runs: a script that calls a command need not guard its last lines, and what it or a notebook
defines itself is sent to them whole, as Ray sends it.
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

from nas.execution.jobs import Attempts, Failure, Finished, Job, MakeDo
from nas.execution.threads import threads

KILLED = "its process was killed, perhaps for want of memory"


class Subprocesses:
    """So many processes, each started with its first job and again after it was killed. They end with this process, however that ends.

    Args:
        make_do: pickled, with what no module holds by value, and called once in each process.
        num_workers: processes.
        cpus: threads of each.
    """

    def __init__(self, make_do: MakeDo, num_workers: int, cpus: int = 1) -> None:
        self.capacity = num_workers
        self._make_do, self._cpus = make_do, cpus
        self._idle: list[_Process] = []
        self._busy: dict[_Process, Job[Any]] = {}

    def submit(self, job: Job[Any]) -> None:
        process = self._idle.pop() if self._idle else _start(self._make_do, self._cpus)
        try:
            process.pipe.send(job.payload)
        except OSError:
            # It was killed while it was idle, which is no fault of this job.
            process.end()
            process = _start(self._make_do, self._cpus)
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


def _start(make_do: MakeDo, cpus: int) -> _Process:
    # Not forked from this process, whose threads would be missing. What the jobs need is imported once, in the server that forks.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, _module_of(make_do)])
    pipe, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, cloudpickle.dumps(make_do), cpus), daemon=True)
    with _hidden_main():
        process.start()
    theirs.close()
    return _Process(process, pipe)


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Keep a process that is started from running this one's program again, as multiprocessing would have it do."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _module_of(make_do: Any) -> str:
    while isinstance(make_do, partial):
        make_do = make_do.func
    return str(getattr(make_do, "__module__", __name__))


def _serve(pipe: connection.Connection, make_do: bytes, cpus: int) -> None:
    """Do what comes, until the other side is no more."""
    # Ctrl-C reaches all processes of a terminal; the first of them ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    attempt = Attempts(lambda: pickle.loads(make_do)())
    with threads(cpus):
        while True:
            try:
                payload = pipe.recv()
            except EOFError:
                return
            pipe.send(attempt(payload))


def _end_with_parent() -> None:
    """End when the parent has ended: its job's result would reach nobody, and its files may be another command's by then."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
