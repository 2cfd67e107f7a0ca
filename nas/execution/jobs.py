"""Jobs, what becomes of them, and the interface of those who do them."""

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from space.errors import UserError, one_line

OF_DISKS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE})
"""Errors of a disk that is full, may not be written or fails: no job is at fault."""

Payload = TypeVar("Payload")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Job(Generic[Payload]):
    """One thing to do.

    Args:
        key: tells the jobs of one loop apart.
        label: what people call it, such as `trial 17`.
        payload: what a worker is handed; it travels to other processes pickled.
    """

    key: int
    label: str
    payload: Payload


@dataclass(frozen=True)
class Done(Generic[Outcome]):
    """What came of a job, and the seconds that it took its worker."""

    outcome: Outcome
    seconds: float


@dataclass(frozen=True)
class Failure:
    """A job came to nothing this time.

    Args:
        reason: in one line.
        traceback: of the exception that the job raised; empty where its worker was lost.
        mistake: the exception, where it is the user's to mend; trying again would not help.
        of_disk: the exception, where it is one of `OF_DISKS`; trying again helps where another machine does it.
    """

    reason: str
    traceback: str = ""
    mistake: UserError | None = None
    of_disk: OSError | None = None


Do = Callable[[Any], Any]
"""Does a job: payload in, outcome out."""
MakeDo = Callable[[], Do]
"""Makes what a worker does its jobs with; called once in each worker, since it may load weights or data."""
Finished = tuple[int, Done[Any] | Failure]
"""A job's key, and what became of it."""


class WorkersError(UserError):
    """Workers that cannot be had, or fail whatever they are given."""


class Workers(Protocol):
    """A group of workers, each of which does one job at a time.

    A worker may be lost at any moment. Its job then is a `Failure`, and another worker takes its place.
    """

    @property
    def capacity(self) -> int:
        """Number of jobs that may be submitted and not finished."""

    def submit(self, job: Job[Any]) -> None:
        """Hand over a job; there must be room for it."""

    def results(self, timeout_seconds: float | None) -> Sequence[Finished]:
        """The jobs that have finished since the last call.

        Args:
            timeout_seconds: wait at most so long for one; None waits as long as it takes. There must be a job under way.

        Raises:
            WorkersError: no worker is left, and none can be had.
        """

    def close(self) -> None:
        """End all workers, whatever they are doing."""


class Attempts:
    """What a worker keeps: the callable that does jobs, made at the first one."""

    def __init__(self, make_do: MakeDo) -> None:
        self._make_do = make_do
        self._do: Do | None = None

    def __call__(self, payload: Any) -> Done[Any] | Failure:
        """Do a job; what it raises becomes a `Failure`."""
        start = time.perf_counter()
        try:
            if self._do is None:
                self._do = self._make_do()
                start = time.perf_counter()
            return Done(self._do(payload), time.perf_counter() - start)
        except UserError as error:
            return Failure(str(error), mistake=error)
        except Exception as error:
            of_disk = error if isinstance(error, OSError) and error.errno in OF_DISKS else None
            return Failure(f"{type(error).__name__}: {one_line(error)}".removesuffix(": "), traceback.format_exc(), of_disk=of_disk)
