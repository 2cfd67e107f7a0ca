"""The loop by itself, with workers that finish in any order and fail in any way."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.execution.jobs import Done, Failure, Finished, Job, WorkersError
from nas.execution.loop import MAX_ATTEMPTS, MAX_IN_A_ROW, JobError, JobList, run_jobs


class Erratic:
    """Workers that finish jobs in random order, several or one at a time; a job fails as often as its payload says."""

    def __init__(self, capacity: int, seed: int, traceback: str = "") -> None:
        self.capacity = capacity
        self.begun = Counter[int]()
        self._rng, self._traceback = random.Random(seed), traceback
        self._running: list[Job[Any]] = []

    def submit(self, job: Job[Any]) -> None:
        self._running.append(job)
        assert len(self._running) <= self.capacity
        self.begun[job.key] += 1

    def results(self, timeout_seconds: float | None) -> Sequence[Finished]:
        assert self._running, "the loop waits although no job runs"
        count = self._rng.randint(1 if timeout_seconds is None else 0, len(self._running))
        self._rng.shuffle(self._running)
        ended, self._running = self._running[:count], self._running[count:]
        failed = Failure("lost", self._traceback)
        return [(job.key, failed if self.begun[job.key] <= job.payload else Done(job.key, 0.0)) for job in ended]

    def close(self) -> None:
        """There is nothing to end."""


@given(st.lists(st.integers(0, MAX_ATTEMPTS), max_size=30), st.integers(1, 8), st.integers(0, 100))
def test_every_job_is_done_once_or_given_up_after_its_last_attempt(failures: list[int], capacity: int, seed: int) -> None:
    done: list[int] = []
    jobs: JobList[int, int] = JobList(failures, str, lambda payload, outcome: done.append(outcome))
    workers = Erratic(capacity, seed)
    run_jobs(jobs, workers)
    assert jobs.is_finished
    assert sorted(done) == [key for key, count in enumerate(failures) if count < MAX_ATTEMPTS]
    assert jobs.failures.keys() == {key for key, count in enumerate(failures) if count == MAX_ATTEMPTS}
    assert workers.begun == Counter({key: min(count + 1, MAX_ATTEMPTS) for key, count in enumerate(failures)})


@pytest.mark.parametrize(("traceback", "error"), [("", WorkersError), ("Traceback ...", JobError)])
@pytest.mark.parametrize("capacity", [1, 5])
def test_nothing_but_failures_ends_it(traceback: str, error: type[Exception], capacity: int) -> None:
    jobs: JobList[int, int] = JobList([MAX_ATTEMPTS] * 1000, str, lambda payload, outcome: None)
    workers = Erratic(capacity, 0, traceback)
    with pytest.raises(error, match=r"^workers: got \d+ failures in a row"):
        run_jobs(jobs, workers)
    assert workers.begun.total() <= MAX_IN_A_ROW + 2 * capacity + 1
