"""Jobs, their outcomes, and the interface of a group of workers."""

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from space.errors import UserError, one_line

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE})
"""Errors of a disk that is full, read-only or broken: no job causes them."""

Payload = TypeVar("Payload")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Job(Generic[Payload]):
    """One thing to do.

    Args:
        key: identifies the job within its loop.
        label: its name in messages, such as `trial 17`.
        payload: what a worker is given; it is pickled for other processes.
    """

    key: int
    label: str
    payload: Payload


@dataclass(frozen=True)
class Done(Generic[Outcome]):
    """A job's outcome, and the seconds that its worker took."""

    outcome: Outcome
    seconds: float


@dataclass(frozen=True)
class Failure:
    """One failed attempt at a job.

    Args:
        reason: in one line.
        traceback: of the exception that the job raised; empty if its worker was lost.
        user_error: the exception, if the user has to correct something; another attempt would not help.
        disk_error: the exception, if it is one of `DISK_ERRORS`; another attempt helps if it runs on another machine.
    """

    reason: str
    traceback: str = ""
    user_error: UserError | None = None
    disk_error: OSError | None = None


JobFunction = Callable[[Any], Any]
"""Does a job: payload in, outcome out."""
MakeJobFunction = Callable[[], JobFunction]
"""Called once in each worker, since it may load weights or data."""
Finished = tuple[int, Done[Any] | Failure]
"""A job's key and its result."""


class WorkersError(UserError):
    """Workers that cannot be started, or fail whatever job they are given."""


class Workers(Protocol):
    """A group of workers, each of which does one job at a time.

    A worker may be lost at any moment. Its job then is a `Failure`, and another worker replaces it.
    """

    @property
    def capacity(self) -> int:
        """Number of jobs that may be submitted and not finished."""

    def submit(self, job: Job[Any]) -> None:
        """Hand over a job, within the capacity."""

    def results(self, timeout_seconds: float | None) -> Sequence[Finished]:
        """The jobs that have finished since the last call. At least one job must be submitted and not finished.

        Args:
            timeout_seconds: the longest wait for one; None waits without limit.

        Raises:
            WorkersError: no worker is left, and none can be started.
        """

    def close(self) -> None:
        """End all workers, whatever they are doing."""


class JobRunner:
    """Runs jobs inside a worker. It makes the function that does them at the first one, and keeps it."""

    def __init__(self, make_function: MakeJobFunction) -> None:
        self._make_function = make_function
        self._function: JobFunction | None = None

    def __call__(self, payload: Any) -> Done[Any] | Failure:
        """Do a job; an exception becomes a `Failure`."""
        start = time.perf_counter()
        try:
            if self._function is None:
                self._function = self._make_function()
                start = time.perf_counter()
            return Done(self._function(payload), time.perf_counter() - start)
        except UserError as error:
            return Failure(str(error), user_error=error)
        except Exception as error:
            disk_error = error if isinstance(error, OSError) and error.errno in DISK_ERRORS else None
            reason = f"{type(error).__name__}: {one_line(error)}".removesuffix(": ")
            return Failure(reason, traceback.format_exc(), disk_error=disk_error)
