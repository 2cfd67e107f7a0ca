"""Whatever is killed in the middle of a search, the same command comes to the same end: every trial once, the same winner."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster

from nas.runs.records.halving import read_halving
from nas.runs.storage_url import journal_url
from nas.study.record import open_study
from space.files import load_architecture
from tests.killing import run_whole, running
from tests.nas.execution import driver
from tests.postgresql import installed_programs, restartable_postgresql

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
KILLS = ["worker"] * 10 + ["node"] * 5 + ["driver"] * 5
SECONDS = 1.5
"""That an evaluation takes at most."""
MAX_RUNS = 30


@pytest.fixture(scope="module")
def three_nodes() -> Iterator[Cluster]:
    """A driver's node and three others, of one processor each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.getcwd())
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        for _ in range(3):
            cluster.add_node(num_cpus=1)
        yield cluster
        cluster.shutdown()


def ended_as(folder: Path, name: str, storage: str = "") -> tuple[object, ...]:
    """What a search came to: its trials with their scores in the order of proposals, its successive halving and its winner."""
    results = open_study(storage or journal_url(folder / name), name if storage else None).results()
    trials = sorted((result.index, result.architecture.fingerprint, result.score) for result in results)
    return trials, halving_without_numbers(folder / name), load_architecture(folder / name / "best.yaml").fingerprint


def halving_without_numbers(run: Path) -> list[tuple[str, object]]:
    """The record of successive halving; labels hold the numbers of trials, among which are interrupted ones."""
    record = read_halving(run)
    assert record is not None
    return [(candidate.fingerprint, candidate.rungs) for candidate in record.candidates]


def fill(disk: Path) -> None:
    """Leave no byte, whoever else writes meanwhile."""
    with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))


def kill(kind: str, cluster: Cluster, process: BaseProcess, rng: random.Random) -> None:
    """Kill one of a kind, and have a lost node replaced."""
    if kind == "driver":
        process.kill()
        process.join()
    elif kind == "node":
        cluster.remove_node(rng.choice(sorted(cluster.worker_nodes, key=lambda node: node.node_id)), allow_graceful=False)
        cluster.add_node(num_cpus=1)
    else:
        workers = [one for one in psutil.process_iter(["cmdline"]) if "ray::_Worker" in " ".join(one.info["cmdline"] or ())]
        if workers:
            rng.choice(sorted(workers, key=lambda one: one.pid)).send_signal(signal.SIGKILL)


def test_workers_nodes_and_the_driver_killed_twenty_times_in_one_search(three_nodes: Cluster, folder: Path) -> None:
    run_whole(driver.main, [str(folder), "alone", "0", "", ""])
    rng = random.Random(0)
    kills = rng.sample(KILLS, len(KILLS))
    argv = [str(folder), "killed", str(SECONDS), "", three_nodes.address]
    lines: list[str] = []
    for _ in range(MAX_RUNS):
        with running(driver.main, argv) as (process, output):
            while kills and process.is_alive():
                time.sleep(rng.uniform(2, 5))
                if process.is_alive():
                    kind = kills.pop()
                    kill(kind, three_nodes, process, rng)
                    if kind == "driver":
                        break
            process.join(300)
            lines += output.read_text().splitlines()
            assert process.exitcode in (0, -signal.SIGKILL), "\n".join(lines)
            if process.exitcode == 0:
                break
    assert not kills, "the search ended before everything was killed that was to be"
    assert ended_as(folder, "killed") == ended_as(folder, "alone")
    (folder / "lines").write_text("\n".join(lines))
    losses = [line for line in lines if re.fullmatch(r"(trial|training) .*; tried again \(attempt \d of 3\)", line)]
    assert len(losses) <= KILLS.count("worker") + KILLS.count("node")
    assert [line for line in lines if line not in losses and line.strip()] == [], "nothing else is said"


def test_postgresql_restarted_in_mid_search(folder: Path) -> None:
    programs = installed_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    run_whole(driver.main, [str(folder), "alone", "0", "", ""])
    with restartable_postgresql(programs) as (new_database, restart):
        storage, said = new_database(), []
        for number in range(MAX_RUNS):
            with running(driver.main, [str(folder), "killed", "0.2", storage, ""]) as (process, output):
                if number < 3:
                    time.sleep(6)
                    restart()
                process.join(300)
                said.append(output.read_text())
                assert process.exitcode in (0, 2), said
                if process.exitcode == 0 and number >= 3:
                    break
        assert ended_as(folder, "killed", storage) == ended_as(folder, "alone")
        for text in said:
            assert text.count("\n") <= 1
            assert not text or text.startswith("error: storage: postgresql://")


def test_the_disk_filled_and_emptied_in_mid_search(folder: Path) -> None:
    run_whole(driver.main, [str(folder), "alone", "0", "", ""])
    disk = folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        said = []
        for number in range(MAX_RUNS):
            (disk / "filler").unlink(missing_ok=True)
            with running(driver.main, [str(folder), "disk/killed", "0.6", "", ""]) as (process, output):
                if number < 3:
                    time.sleep(7)
                    fill(disk)
                process.join(300)
                said.append(output.read_text())
                if process.exitcode == 0:
                    break
                assert process.exitcode == 2, said
        (disk / "filler").unlink(missing_ok=True)
        assert len(said) >= 3
        assert ended_as(folder, "disk/killed") == ended_as(folder, "alone")
        assert all(text.count("\n") <= 1 for text in said)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
