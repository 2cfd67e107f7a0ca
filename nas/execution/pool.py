"""Jobs in other processes of this machine, which may die: a job whose process did is tried again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Protocol, TypeVar

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from space.errors import UserError

MAX_ATTEMPTS = 3
"""How often a job is begun whose process dies."""


Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


class Each(Protocol):
    """Where jobs run."""

    def __call__(self, do: Callable[[Job], Outcome], jobs: Sequence[Job]) -> Iterable[tuple[Job, Outcome]]:
        """Call a function with each of several distinct jobs, somewhere, and yield what comes of it, in any order."""


class WorkerError(UserError):
    """Processes that died, again and again."""


def in_processes(workers: int) -> Each:
    """So many jobs at a time on this machine. They end with this process, however that ends.

    Raises:
        WorkerError: while a job was done, its process died, such as for want of memory, and so it did each time it was tried again.
    """

    def each(do: Callable[[Job], Outcome], jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        attempts: dict[Job, int] = dict.fromkeys(jobs, 0)
        # Not fewer when few are left: one alone would run, and die, in this process.
        at_a_time = min(workers, len(jobs))
        while attempts:
            begun: set[Job] = set()

            def calls(left: Sequence[Job] = tuple(attempts), begun: set[Job] = begun) -> Iterator[Any]:
                for job in left:
                    begun.add(job)
                    yield delayed(_paired)(do, job, os.getpid())

            try:
                with Parallel(n_jobs=at_a_time, return_as="generator_unordered", pre_dispatch="n_jobs") as parallel:
                    for job, outcome in parallel(calls()):
                        del attempts[job]
                        yield job, outcome
            except TerminatedWorkerError:
                # All processes went with the one that died, and nobody tells which one that was.
                for job in begun & attempts.keys():
                    attempts[job] += 1
            if max(attempts.values(), default=0) >= MAX_ATTEMPTS:
                died = f"got {workers} at a time, and {MAX_ATTEMPTS} times a process died, as it does for want of memory"
                raise WorkerError(f"trainings: {died}; expected no more --workers than there is memory for")

    return each


def _paired(do: Callable[[Job], Outcome], job: Job, parent: int) -> tuple[Job, Outcome]:
    if os.getpid() != parent:
        _end_with(parent)
    return job, do(job)


@cache
def _end_with(parent: int) -> None:
    """Have this process end when its parent has: it would work for nobody, on files that the next command writes, too."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
