"""The loop of every search, audit and comparison: ask for a job, have it done, report its outcome.

A job that fails is tried again, elsewhere if there are several workers, and given up after `MAX_ATTEMPTS`. It makes no difference
whether it raised an exception, its worker died or its node was lost, nor where the workers run.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol

from nas.execution.jobs import Done, Failure, Job, Outcome, Payload, Workers, WorkersError

MAX_ATTEMPTS = 3
"""Attempts at a job that fails each time."""
MAX_IN_A_ROW = 20
"""So many failures without an outcome in between, and one more for each worker, end the loop: no single job causes that."""
POLL_SECONDS = 0.25
"""Between two requests for a job if there was none: other processes may work for the same source."""


class JobError(RuntimeError):
    """Jobs that raised exceptions which are not the user's errors; the text holds a worker's traceback."""


@dataclass(frozen=True)
class Deadline:
    """A moment after which no job is started; running jobs finish.

    Args:
        at: seconds of `time.monotonic`; None for no deadline.
    """

    at: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether the moment has come."""
        return self.at is not None and time.monotonic() >= self.at


class JobSource(Protocol):
    """Where jobs come from, and where their outcomes go."""

    def next(self) -> Job[Any] | None:
        """A job to start now; None if a running job, here or elsewhere, has to finish first, or none is left."""

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do or running, here or elsewhere."""

    def finish(self, key: int, outcome: Any, seconds: float) -> None:
        """Take a job's outcome, and the seconds that its worker took."""

    def fail(self, key: int, failure: Failure) -> None:
        """Take the last failure of a job that has failed `MAX_ATTEMPTS` times."""


def run_jobs(source: JobSource, workers: Workers, deadline: Deadline = Deadline()) -> None:
    """Have a source's jobs done until it is finished or the deadline is over.

    Raises:
        UserError: a job found an error that the user has to correct.
        OSError: a job met a disk that is full, read-only or broken, `MAX_ATTEMPTS` times.
        WorkersError: workers die whatever job they are given.
        JobError: jobs raise exceptions, whichever job it is.
    """
    running: dict[int, Job[Any]] = {}
    retries: deque[Job[Any]] = deque()
    attempts = Counter[int]()
    failures_in_a_row = 0
    while True:
        while len(running) < workers.capacity and not deadline.is_over:
            job = retries.popleft() if retries else source.next()
            if job is None:
                break
            running[job.key] = job
            attempts[job.key] += 1
            workers.submit(job)
        if not running:
            if deadline.is_over or source.is_finished:
                return
            time.sleep(POLL_SECONDS)
            continue
        has_room = len(running) < workers.capacity and not deadline.is_over
        for key, result in workers.results(POLL_SECONDS if has_room else None):
            job = running.pop(key)
            if isinstance(result, Done):
                failures_in_a_row = 0
                source.finish(key, result.outcome, result.seconds)
                continue
            if result.user_error is not None:
                raise result.user_error
            failures_in_a_row += 1
            if failures_in_a_row > MAX_IN_A_ROW + workers.capacity:
                got = f"got {failures_in_a_row} failures in a row, the last one of {job.label} ({result.reason})"
                raise _error(f"workers: {got}, expected one result between them", result)
            is_last = attempts[key] == MAX_ATTEMPTS
            if is_last and result.disk_error is not None:
                raise result.disk_error
            _report(job, result, attempts[key], is_last)
            if is_last:
                source.fail(key, result)
            else:
                retries.append(job)


def _report(job: Job[Any], failure: Failure, attempt: int, is_last: bool) -> None:
    consequence = "given up" if is_last else "tried again"
    print(f"{job.label}: {failure.reason}; {consequence} (attempt {attempt} of {MAX_ATTEMPTS})", file=sys.stderr, flush=True)
    if is_last and failure.traceback:
        print(failure.traceback, file=sys.stderr, flush=True)


def _error(message: str, failure: Failure, advice: str = "") -> Exception:
    """JobError with the traceback if a job raised an exception, WorkersError if its worker was lost."""
    return JobError(f"{message}\n\n{failure.traceback}") if failure.traceback else WorkersError(f"{message}{advice}")


class JobList(Generic[Payload, Outcome]):
    """A source of jobs that are known beforehand, in their order.

    Args:
        payloads: of the jobs; a job's key is its payload's index.
        label: a job's name in messages, from its payload.
        on_outcome: called in this process after each job, in the order in which they finish.

    Attributes:
        failures: the last failures of jobs that were given up, by key.
    """

    def __init__(
        self, payloads: Iterable[Payload], label: Callable[[Payload], str], on_outcome: Callable[[Payload, Outcome], None]
    ) -> None:
        self.failures: dict[int, Failure] = {}
        self._jobs = [Job(key, label(payload), payload) for key, payload in enumerate(payloads)]
        self._on_outcome = on_outcome
        self._waiting = iter(self._jobs)
        self._num_left = len(self._jobs)

    def next(self) -> Job[Payload] | None:
        return next(self._waiting, None)

    @property
    def is_finished(self) -> bool:
        return self._num_left == 0

    def finish(self, key: int, outcome: Outcome, seconds: float) -> None:
        self._num_left -= 1
        self._on_outcome(self._jobs[key].payload, outcome)

    def fail(self, key: int, failure: Failure) -> None:
        self._num_left -= 1
        self.failures[key] = failure

    def check(self) -> None:
        """Raise if a job was given up: WorkersError for a lost worker, JobError with the traceback for an exception."""
        for key, failure in self.failures.items():
            message = f"{self._jobs[key].label}: failed {MAX_ATTEMPTS} times, the last time: {failure.reason}"
            raise _error(message, failure, advice="; the same command tries again")
