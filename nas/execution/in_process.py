"""This process as the only worker: nothing is started, and nothing has to be pickled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nas.execution.jobs import Finished, Job, JobRunner, MakeJobFunction
from nas.execution.resources import threads
from proxies.kept_memory import kept_memory


class InProcess:
    """Does each job when its result is asked for.

    Args:
        cpus: threads of a job.
    """

    capacity = 1

    def __init__(self, make_function: MakeJobFunction, cpus: int = 1) -> None:
        self._run = JobRunner(make_function)
        self._cpus = cpus
        self._submitted: list[Job[Any]] = []

    def submit(self, job: Job[Any]) -> None:
        self._submitted.append(job)

    def results(self, timeout_seconds: float | None) -> Sequence[Finished]:
        jobs, self._submitted = self._submitted, []
        with threads(self._cpus), kept_memory():
            return [(job.key, self._run(job.payload)) for job in jobs]

    def close(self) -> None:
        """No other process has to end."""
