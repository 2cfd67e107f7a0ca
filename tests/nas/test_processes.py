"""Jobs in processes of this machine: who dies is replaced, and none outlives the command."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from nas.execution.pool import MAX_ATTEMPTS, WorkerError, in_processes
from tests.killing import running


def die(job: tuple[Path, int]) -> int:
    """Kill the process that does it, so many times as the job says."""
    file, deaths = job
    with file.open("a") as log:
        log.write("begun\n")
    if len(file.read_text().splitlines()) <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    return deaths


def test_a_process_that_dies_is_replaced(tmp_path: Path) -> None:
    jobs = [(tmp_path / "mortal", MAX_ATTEMPTS - 1), (tmp_path / "sound", 0), (tmp_path / "sound, too", 0)]
    assert sorted(in_processes(2)(die, jobs)) == [(job, job[1]) for job in jobs]
    with pytest.raises(WorkerError, match=f"trainings: got 2 at a time, and {MAX_ATTEMPTS} times a process died"):
        list(in_processes(2)(die, [(tmp_path / "doomed", 99), (tmp_path / "beside it", 0)]))
    assert (tmp_path / "doomed").read_text().count("begun") == MAX_ATTEMPTS


def outlive(file: Path) -> None:
    file.write_text(str(os.getpid()))
    file.rename(file.with_suffix(".pid"))
    time.sleep(300)


def two_that_outlive(argv: Sequence[str]) -> int:
    list(in_processes(2)(outlive, [Path(argv[0]) / "one", Path(argv[0]) / "two"]))
    return 0


def test_processes_end_with_the_command_that_is_killed(tmp_path: Path) -> None:
    with running(two_that_outlive, [str(tmp_path)]) as (process, output):
        while len(pids := list(tmp_path.glob("*.pid"))) < 2:
            assert process.is_alive(), output.read_text()
            time.sleep(0.01)
        workers = [psutil.Process(int(file.read_text())) for file in pids]
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive
