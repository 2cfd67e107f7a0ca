"""In this process, in others or on a cluster: jobs are done, or fail in the same way."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from ray.cluster_utils import Cluster

from nas.execution.jobs import WorkersError
from nas.execution.loop import MAX_ATTEMPTS, MAX_IN_A_ROW, Deadline, JobError, JobList, run_jobs
from nas.execution.resources import Resources
from nas.execution.workers import open_workers
from space.errors import UserError
from tests.nas.execution.duties import begun, make_function

Run = Callable[..., tuple[dict[int, int], JobList]]
KINDS = ("in process", "subprocesses", "ray")
OTHERS = KINDS[1:]
"""The kinds whose workers can be lost."""
RAY_IN_SOAK = pytest.param("ray", marks=pytest.mark.soak)
"""For tests in which Ray adds seconds and shows little more."""


@pytest.fixture
def resources(request: pytest.FixtureRequest) -> Resources:
    """Two workers of the kind that a test is parametrised with, or the process itself."""
    if request.param == "ray":
        return Resources(2, "ray", gpus=0, ray_address=request.getfixturevalue("cluster").address)
    return Resources(2 if request.param == "subprocesses" else 1)


def run(folder: Path, resources: Resources, *whats: str, deadline: Deadline = Deadline()) -> tuple[dict[int, int], JobList]:
    """Do jobs, numbered from 0; the outcomes by number, and the jobs."""
    found: dict[int, int] = {}
    payloads = [(what, folder, number) for number, what in enumerate(whats)]
    jobs: JobList = JobList(payloads, lambda payload: f"job {payload[2]}", lambda payload, outcome: found.update({payload[2]: outcome}))
    with open_workers(make_function, resources, folder / "ray") as workers:
        run_jobs(jobs, workers, deadline)
    return found, jobs


@pytest.mark.parametrize("resources", KINDS, indirect=True)
def test_every_job_is_done_once(resources: Resources, tmp_path: Path) -> None:
    found, jobs = run(tmp_path, resources, *["work"] * 8)
    assert found == {number: number**2 for number in range(8)}
    assert Counter(number for number, _ in begun(tmp_path)) == dict.fromkeys(range(8), 1)
    assert not jobs.failures


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_see_the_gpus_that_their_command_may_see(num_workers: int, tmp_path: Path) -> None:
    """In this process and in others; Ray gives each of its workers GPUs of its own."""
    script = f"""
from pathlib import Path
from nas.execution.resources import Resources
from tests.nas.execution.test_workers import run
run(Path({str(tmp_path)!r}), Resources({num_workers}), "visible gpus", "visible gpus")
"""
    # A command of its own: the server that starts processes keeps the variables that it was started with.
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": "5,3"}, timeout=120)
    assert [(tmp_path / f"visible-{number}").read_text() for number in range(2)] == ["5,3", "5,3"]


@pytest.mark.parametrize("resources", KINDS, indirect=True)
def test_a_job_that_raises_is_tried_again_and_given_up(
    resources: Resources, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found, jobs = run(tmp_path, resources, "raise", "work", "raise once", "work")
    assert found == {1: 1, 2: 4, 3: 9}
    assert Counter(number for number, _ in begun(tmp_path)) == {0: MAX_ATTEMPTS, 1: 1, 2: 2, 3: 1}
    assert jobs.failures[0].reason == "ArithmeticError: 0 is odd and more"
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("job ")]
    assert len(lines) == MAX_ATTEMPTS + 1
    assert lines.count(f"job 2: ArithmeticError: 2 is odd and more; tried again (attempt 1 of {MAX_ATTEMPTS})") == 1
    with pytest.raises(JobError, match=r"(?s)^job 0: failed 3 times, the last time: ArithmeticError.*Traceback.*in _raise"):
        jobs.check()


@pytest.mark.parametrize("resources", [*KINDS[:2], RAY_IN_SOAK], indirect=True)
def test_a_users_error_ends_the_loop_with_its_message(resources: Resources, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^images/0.png: cannot be read$"):
        run(tmp_path, resources, "mistake", "work")
    assert [number for number, _ in begun(tmp_path)].count(0) == 1


@pytest.mark.parametrize("resources", [*KINDS[:2], RAY_IN_SOAK], indirect=True)
def test_a_disk_that_stays_full_ends_the_loop(resources: Resources, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device") as caught:
        run(tmp_path, resources, "full disk", "work")
    assert caught.value.filename == str(tmp_path / "0")
    assert [number for number, _ in begun(tmp_path)].count(0) == MAX_ATTEMPTS


@pytest.mark.parametrize("resources", [*KINDS[:2], RAY_IN_SOAK], indirect=True)
def test_jobs_that_all_fail_end_the_loop_with_a_traceback(resources: Resources, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"(?s)^workers: got \d+ failures in a row.*Traceback.*in _raise"):
        run(tmp_path, resources, *["raise"] * (MAX_IN_A_ROW + 3))


@pytest.mark.parametrize("resources", OTHERS, indirect=True)
def test_the_job_of_a_killed_worker_is_tried_again(
    resources: Resources, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found, _ = run(tmp_path, resources, "work", "die once", "work", "work")
    assert found == {0: 0, 1: 1, 2: 4, 3: 9}
    assert Counter(number for number, _ in begun(tmp_path)) == {0: 1, 1: 2, 2: 1, 3: 1}
    (lines,) = [line for line in capfd.readouterr().err.splitlines() if "job 1" in line]
    assert lines.endswith(f"; tried again (attempt 1 of {MAX_ATTEMPTS})")


@pytest.mark.parametrize("resources", [KINDS[1], RAY_IN_SOAK], indirect=True)
def test_a_job_that_kills_its_workers_is_given_up(resources: Resources, tmp_path: Path) -> None:
    found, jobs = run(tmp_path, resources, "die", "work")
    assert found == {1: 1}
    with pytest.raises(WorkersError, match=r"^job 0: failed 3 times, the last time: its .* was .*; the same command tries again$"):
        jobs.check()


@pytest.mark.parametrize("resources", [*KINDS[:2], RAY_IN_SOAK], indirect=True)
def test_no_more_at_a_time_than_there_are_workers(resources: Resources, tmp_path: Path) -> None:
    run(tmp_path, resources, *["count"] * 5)
    together = {int(line) for line in (tmp_path / "together").read_text().splitlines()}
    assert max(together) <= resources.num_workers


@pytest.mark.parametrize("resources", [*KINDS[:2], RAY_IN_SOAK], indirect=True)
def test_no_job_starts_after_the_deadline(resources: Resources, tmp_path: Path) -> None:
    found, jobs = run(tmp_path, resources, "work", deadline=Deadline(time.monotonic()))
    assert not found
    assert not jobs.is_finished
    assert not begun(tmp_path)


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    parent = multiprocessing.get_context("spawn").Process(target=run, args=(tmp_path, Resources(2), "wait", "wait"))
    parent.start()
    while len(begun(tmp_path)) < 2:
        time.sleep(0.1)
    children = [process for _, process in begun(tmp_path)]
    parent.kill()
    parent.join()
    for _ in range(100):
        if not any(map(psutil.pid_exists, children)):
            return
        time.sleep(0.1)
    raise AssertionError("the workers outlive the process that started them")


def test_processes_are_kept_from_job_to_job(tmp_path: Path) -> None:
    run(tmp_path, Resources(2), *["work"] * 8)
    processes = {process for _, process in begun(tmp_path)}
    assert len(processes) == 2
    assert os.getpid() not in processes


def test_one_local_worker_is_the_process_itself_with_its_own_number_of_threads(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    run(tmp_path, Resources(1, cpus=2), "work")
    assert {process for _, process in begun(tmp_path)} == {os.getpid()}
    assert torch.get_num_threads() == before


def test_the_job_of_a_lost_node_is_tried_again(cluster: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def lose() -> None:
        while not (tmp_path / "node").exists() or not (node_id := (tmp_path / "node").read_text()):
            time.sleep(0.1)
        lost = next(node for node in cluster.list_all_nodes() if node.node_id == node_id)
        cluster.remove_node(lost, allow_graceful=False)

    losing = threading.Thread(target=lose, daemon=True)
    losing.start()
    resources = Resources(2, "ray", gpus=0, ray_address=cluster.address)
    found, _ = run(tmp_path, resources, "work", "lose node", *["work"] * 3)
    losing.join()
    cluster.add_node(num_cpus=1, num_gpus=1)
    assert found == {number: number**2 for number in range(5)}
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("job ")]
    assert lines == [f"job 1: its worker was lost; tried again (attempt 1 of {MAX_ATTEMPTS})"]
