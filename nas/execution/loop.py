"""The loop that every search, audit and comparison is: ask for a job, have it done, tell what came of it.

A job that fails is tried again, elsewhere where there are several workers, and given up after `MAX_ATTEMPTS`. It makes no difference
whether it raised an exception, its worker died or its node was lost, nor where the workers are.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol

from nas.execution.jobs import Done, Failure, Job, Outcome, Payload, Workers, WorkersError

MAX_ATTEMPTS = 3
"""How often a job is begun that fails each time."""
MAX_IN_A_ROW = 20
"""So many failures, and one more a worker, with nothing done between them, end the loop: no job is at fault."""
POLL_SECONDS = 0.25
"""Between two questions for a job where there is room for one and none was to be had: others may work for the same source."""


class JobError(RuntimeError):
    """Jobs that raised exceptions, which are no mistakes of a user's; the text holds a worker's traceback."""


@dataclass(frozen=True)
class Deadline:
    """A moment after which no job is begun; those under way are finished.

    Args:
        at: seconds of `time.monotonic`; none never comes.
    """

    at: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether the moment has come."""
        return self.at is not None and time.monotonic() >= self.at


class Source(Protocol):
    """Where jobs come from, and where their outcomes go."""

    def next(self) -> Job[Any] | None:
        """A job to begin now; None where a job under way, here or elsewhere, has to finish first, or none is left."""

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do, under way or not, here or elsewhere."""

    def finish(self, key: int, outcome: Any, seconds: float) -> None:
        """A job is done, and its worker took so many seconds."""

    def fail(self, key: int, failure: Failure) -> None:
        """A job has failed `MAX_ATTEMPTS` times, the last time like this."""


def run_jobs(source: Source, workers: Workers, deadline: Deadline = Deadline()) -> None:
    """Have a source's jobs done until it is finished or the deadline is over.

    Raises:
        UserError: a job met a mistake of the user's.
        OSError: a job met a disk that is full, may not be written or fails, `MAX_ATTEMPTS` times.
        WorkersError: workers die whatever they are given.
        JobError: jobs raise whatever they are.
    """
    under_way: dict[int, Job[Any]] = {}
    again: deque[Job[Any]] = deque()
    attempts = Counter[int]()
    in_a_row = 0
    while True:
        while len(under_way) < workers.capacity and not deadline.is_over:
            job = again.popleft() if again else source.next()
            if job is None:
                break
            under_way[job.key] = job
            attempts[job.key] += 1
            workers.submit(job)
        if not under_way:
            if deadline.is_over or source.is_finished:
                return
            time.sleep(POLL_SECONDS)
            continue
        has_room = len(under_way) < workers.capacity and not deadline.is_over
        for key, result in workers.results(POLL_SECONDS if has_room else None):
            job = under_way.pop(key)
            if isinstance(result, Done):
                in_a_row = 0
                source.finish(key, result.outcome, result.seconds)
                continue
            if result.mistake is not None:
                raise result.mistake
            in_a_row += 1
            if in_a_row > MAX_IN_A_ROW + workers.capacity:
                raise _error_of(in_a_row, job, result)
            is_last = attempts[key] == MAX_ATTEMPTS
            if is_last and result.of_disk is not None:
                raise result.of_disk
            _report(job, result, attempts[key], is_last)
            if is_last:
                source.fail(key, result)
            else:
                again.append(job)


def _report(job: Job[Any], failure: Failure, attempt: int, is_last: bool) -> None:
    then = "given up" if is_last else "tried again"
    print(f"{job.label}: {failure.reason}; {then} (attempt {attempt} of {MAX_ATTEMPTS})", file=sys.stderr, flush=True)
    if is_last and failure.traceback:
        print(failure.traceback, file=sys.stderr, flush=True)


def _error_of(in_a_row: int, job: Job[Any], failure: Failure) -> Exception:
    told = f"workers: got {in_a_row} failures in a row, the last one of {job.label} ({failure.reason}), expected one result between them"
    return JobError(f"{told}\n\n{failure.traceback}") if failure.traceback else WorkersError(told)


@dataclass
class JobList(Generic[Payload, Outcome]):
    """A source of jobs that are known beforehand, in their order.

    Args:
        payloads: distinct or not.
        label: what people call a payload's job.
        on_outcome: called in this process after each job, in the order in which they finish.

    Attributes:
        failures: what the jobs ended with that were given up, by payload's place.
    """

    payloads: Iterable[Payload]
    label: Callable[[Payload], str]
    on_outcome: Callable[[Payload, Outcome], None]
    failures: dict[int, Failure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._payloads = list(self.payloads)
        self._next = 0
        self._left = len(self._payloads)

    def next(self) -> Job[Payload] | None:
        if self._next == len(self._payloads):
            return None
        key, self._next = self._next, self._next + 1
        return Job(key, self.label(self._payloads[key]), self._payloads[key])

    @property
    def is_finished(self) -> bool:
        return self._left == 0

    def finish(self, key: int, outcome: Outcome, seconds: float) -> None:
        self._left -= 1
        self.on_outcome(self._payloads[key], outcome)

    def fail(self, key: int, failure: Failure) -> None:
        self._left -= 1
        self.failures[key] = failure

    def check(self) -> None:
        """Raise where a job was given up: WorkersError for lost workers, JobError with the traceback for an exception."""
        for key, failure in self.failures.items():
            told = f"{self.label(self._payloads[key])}: failed {MAX_ATTEMPTS} times, the last time: {failure.reason}"
            raise JobError(f"{told}\n\n{failure.traceback}") if failure.traceback else WorkersError(f"{told}; the same command tries again")
