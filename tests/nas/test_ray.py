"""Ray: workers and nodes may be lost and the search is the same; what cannot work ends in one line; all of it stays on loopback."""

from __future__ import annotations

import ipaddress
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
import ray
import torch
from ray._common.usage.usage_lib import usage_stats_enabled
from ray.cluster_utils import Cluster

from nas.execution import Stop, Workers
from nas.execution.ray import WorkersError, on_ray, reserved, run_ray
from nas.search.__main__ import main
from nas.study.architecture_study import ArchitectureStudy
from nas.study.objectives import objectives_of
from nas.study.record import open_study
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from space.errors import UserError
from space.files import load_architecture, load_space
from tests.nas.evaluators import ByFingerprint, Raising, Unlucky
from tests.nas.small_search import AS_IF_NOT_GIVEN, BUDGET, SPACE, command

NUM_TRIALS = 12
CPU, GPU = "CPU", "GPU"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A driver's node and three others, of one processor each; workers find what the tests define."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.getcwd())
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        for gpus in (0, 0, 1):
            cluster.add_node(num_cpus=1, num_gpus=gpus)
        yield cluster
        cluster.shutdown()


def on(cluster: Cluster, num_workers: int, gpus: float = 0) -> Workers:
    return Workers(num_workers, cluster.address, gpus=gpus)


@contextmanager
def losing_a_node(cluster: Cluster, asked: Callable[[], str | None]) -> Iterator[None]:
    """Meanwhile the node is lost whose id is asked for."""

    def lose() -> None:
        while (node_id := asked()) is None:
            time.sleep(0.1)
        lost = next(node for node in cluster.list_all_nodes() if node.node_id == node_id)
        cluster.remove_node(lost, allow_graceful=False)

    losing = threading.Thread(target=lose, daemon=True)
    losing.start()
    yield
    losing.join()
    cluster.add_node(num_cpus=1, num_gpus=1)


def text_of(file: Path) -> str | None:
    return (file.exists() and file.read_text()) or None


def study_in(folder: Path) -> ArchitectureStudy:
    (folder / "tiny.yaml").write_text(SPACE)
    budget = parse_budget(BUDGET, 0.5)
    band = ArchitectureBand(load_space(folder / "tiny.yaml"), budget)
    objectives = objectives_of(["accuracy"], budget)
    return ArchitectureStudy(f"sqlite:///{folder}/study.db", "small", band, budget, objectives, "evolution", seed=0, lag=4)


def search(folder: Path, evaluator: ByFingerprint, workers: Workers) -> list[str]:
    """A small search by evolution on Ray; the fingerprints of what it evaluated, in the order of proposal."""
    study, told = study_in(folder), []
    with study.used():
        run_ray(study, partial(type(evaluator), **vars(evaluator)), Stop(NUM_TRIALS), told.append, workers, folder / "ray")
    results = study.results()
    assert len(told) == len(results) == NUM_TRIALS
    return [result.architecture.fingerprint for result in sorted(results, key=lambda result: result.place)]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the search evaluates in one process, where nothing happens."""
    folder = tmp_path_factory.mktemp("expected")
    study, evaluator, found = study_in(folder), ByFingerprint(folder / "log"), []
    while proposal := study.ask(NUM_TRIALS):
        study.tell(proposal, evaluator(proposal.architecture), 0.0)
        found.append(proposal.architecture.fingerprint)
    return found


def evaluations(log: Path) -> Counter[str]:
    return Counter(line.split()[0] for line in (text_of(log) or "").splitlines())


def workers_of(log: Path) -> set[int]:
    return {int(line.split()[1]) for line in log.read_text().splitlines()}


def test_a_worker_killed_and_a_node_lost_in_mid_search_change_nothing(
    cluster: Cluster, expected: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    evaluator = Unlucky(tmp_path / "log", seconds=2, killed=expected[3], lost=expected[7])

    ended: set[int] = set()

    def asked() -> str | None:
        # All that may begin before the one on the node has ended: those in the next three places.
        if len(evaluations(evaluator.log)) < 11:
            return None
        time.sleep(4)
        ended.update(pid for pid in workers_of(evaluator.log) if not psutil.pid_exists(pid))
        return text_of(evaluator.node)

    with losing_a_node(cluster, asked):
        assert search(tmp_path, evaluator, on(cluster, 3)) == expected
    assert len(ended) == 1, "the killed one, and none that had nothing to do until another had ended"
    assert evaluations(evaluator.log) == {**dict.fromkeys(expected, 1), expected[3]: 2, expected[7]: 2}
    assert capfd.readouterr().err.count("its worker died") == 2


@pytest.mark.soak
def test_what_always_raises_is_left_out_and_told_of(
    cluster: Cluster, expected: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    evaluator = Raising(tmp_path / "log", fingerprint=expected[2])
    assert expected[2] not in search(tmp_path, evaluator, on(cluster, 2))
    assert evaluations(evaluator.log)[expected[2]] == 3
    told = [line for line in capfd.readouterr().err.splitlines() if "ArithmeticError" in line]
    assert len(told) == 3
    assert all(line.startswith("trial ") and line.endswith("ArithmeticError: not a number") for line in told)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_worker_that_finds_no_gpu_where_it_was_given_one_ends_the_search_in_one_line(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(WorkersError, match=r"^--gpus-per-worker: got 0.5, but PyTorch finds none where the worker runs; 0 does without$"):
        search(tmp_path, ByFingerprint(tmp_path / "log"), on(cluster, 1, gpus=0.5))


@pytest.mark.soak
def test_the_command_on_a_cluster_that_loses_a_node_finds_what_it_finds_alone(cluster: Cluster, folder: Path) -> None:
    options = ["--evaluator", "standalone", "--standalone-steps", "20", *AS_IF_NOT_GIVEN, "--trials", "12"]
    assert main(command(folder, *options, "--out", str(folder / "alone"), "--workers", "1")) == 0

    def asked() -> str | None:
        has_begun = len(list((folder / "run").glob("standalone/*.json"))) >= 4
        return next(iter(cluster.worker_nodes)).node_id if has_begun else None

    joining = ["--backend", "ray", "--ray-address", cluster.address, "--workers", "3", "--gpus-per-worker", "0"]
    with losing_a_node(cluster, asked):
        assert main(command(folder, *options, *joining)) == 0
    alone, lost = (open_study(f"journal:{folder}/{out}/study.journal").results() for out in ("alone", "run"))
    assert [(result.place, result.architecture, result.score) for result in lost] == [
        (result.place, result.architecture, result.score) for result in alone
    ]
    best = [load_architecture(folder / out / "best.yaml").fingerprint for out in ("alone", "run")]
    assert best[0] == best[1]


def train(file: Path) -> str:
    """The first time, its worker is killed, or its node lost, as the file's name says."""
    if not file.exists():
        if file.name == "killed":
            file.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        file.write_text(ray.get_runtime_context().get_node_id())
        time.sleep(600)
    return file.name


def test_a_training_whose_worker_or_node_is_lost_begins_again(cluster: Cluster, tmp_path: Path) -> None:
    jobs = [tmp_path / name for name in ("killed", "lost")]
    with losing_a_node(cluster, lambda: text_of(jobs[1])):
        assert sorted(on_ray(on(cluster, 2))(train, jobs)) == [(job, job.name) for job in jobs]


def count_those_at_it(folder: Path) -> int:
    """How many are at it at the same time as this one."""
    mine = folder / str(os.getpid())
    mine.touch()
    time.sleep(0.3)
    count = len(list(folder.iterdir()))
    mine.unlink()
    return count


def test_no_more_trainings_at_a_time_than_there_are_workers(cluster: Cluster, tmp_path: Path) -> None:
    assert list(on_ray(on(cluster, 1))(count_those_at_it, [tmp_path] * 3)) == [(tmp_path, 1)] * 3


def train_on_a_broken_image(_: int) -> None:
    raise UserError("images/train/bee/3.png: cannot be read")


def test_a_user_s_mistake_in_a_training_is_told_in_its_words(cluster: Cluster) -> None:
    with pytest.raises(UserError, match=r"^images/train/bee/3.png: cannot be read$"):
        list(on_ray(on(cluster, 1))(train_on_a_broken_image, [0]))


def listening() -> set[tuple[int, str, int]]:
    """Process, address and port of what this process and its children listen to."""
    found = set()
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            sockets = process.net_connections("inet")
            found |= {(process.pid, one.laddr.ip, one.laddr.port) for one in sockets if one.status == psutil.CONN_LISTEN}
    return found


def test_a_cluster_of_our_own_listens_on_loopback_alone_and_tells_nobody_of_its_use() -> None:
    before = listening()
    for _ in on_ray(Workers(2, gpus=0))(abs, [-1, -2, -3]):
        addresses = [ip for _, ip, _ in listening() - before]
        assert len(addresses) >= 5, "the driver, the store of the cluster's state, the node's two and a worker"
        assert all(ipaddress.ip_address(ip.removeprefix("::ffff:")).is_loopback for ip in addresses)
        assert not usage_stats_enabled()


def test_an_address_that_nobody_listens_to_is_refused() -> None:
    with pytest.raises(WorkersError, match=r"^--ray-address: cannot join 127.0.0.1:1: "):
        list(on_ray(Workers(1, "127.0.0.1:1"))(abs, [-1]))


TWO, GPUS = {CPU: 2}, {CPU: 16, GPU: 4}


@pytest.mark.parametrize(
    ("workers", "nodes", "expected"),
    [
        (Workers(1), [TWO], (1, 0)),
        (Workers(2, cpus=2), [{}, TWO], (2, 0)),
        (Workers(2), [TWO, GPUS], (1, 1)),
        (Workers(5), [GPUS], (1, 0.5)),
        (Workers(12), [GPUS], (1, 0.3333)),
        (Workers(4, gpus=0), [TWO, GPUS], (1, 0)),
        (Workers(4, gpus=0.25), [{CPU: 8, GPU: 1}], (1, 0.25)),
    ],
)
def test_a_worker_reserves_its_share_of_the_gpus(
    workers: Workers, nodes: list[dict[str, float]], expected: tuple[int, float]
) -> None:
    assert tuple(reserved(workers, nodes).values()) == expected


@pytest.mark.parametrize(
    ("workers", "complaint"),
    [
        (Workers(1, gpus=0.25), "--gpus-per-worker: got 0.25, expected no more than 0, the most that a node has"),
        (Workers(1, cpus=3), "--cpus-per-worker: got 3, expected no more than 2, the most that a node has"),
    ],
)
def test_what_no_node_has_is_refused_rather_than_waited_for(workers: Workers, complaint: str) -> None:
    with pytest.raises(WorkersError, match=f"^{complaint}$"):
        reserved(workers, [TWO, {CPU: 1}])


def test_a_gpu_s_node_must_have_the_processors_too() -> None:
    with pytest.raises(WorkersError, match=r"^--cpus-per-worker: got 16, expected no more than 4, the most that a node with 1 GPUs has$"):
        reserved(Workers(1, cpus=16, gpus=1), [{CPU: 64}, {CPU: 4, GPU: 1}])
