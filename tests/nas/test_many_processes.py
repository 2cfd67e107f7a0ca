"""Several processes on one study: no architecture twice, none missing, and the sequence of one process alone."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import optuna
import pytest

from nas import join
from nas.runs.lock import LOCK, LockHolder
from nas.runs.process_id import this_process_id
from nas.search import __main__ as search
from nas.study.heartbeat import Heartbeat
from nas.study.storage import open_storage
from nas.study.trial_attributes import PROCESS
from nas.train import __main__ as train
from space import load_architecture
from tests.killing import running
from tests.nas.conftest import Mistaken
from tests.nas.small_search import command, rows_of
from tests.nas.test_order_of_proposals import STALENESS, opened, score
from tests.postgresql import NewDatabase

TRIALS = 12
URLS: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder / 'study.db'}",
    "journal": lambda folder: f"journal:{folder / 'study.journal'}",
}


@pytest.fixture(params=["sqlite", "journal", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty storage of every kind that there is."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql")()
    return URLS[request.param](tmp_path)


def evaluate(storage: str, num_results: int = TRIALS) -> None:
    """What a process does that shares a study with others."""
    study = opened(storage, "surrogate")
    with study.session():
        while study.num_results < num_results:
            proposal = study.ask(num_results)
            if proposal is None:
                time.sleep(0.1)
                continue
            time.sleep(0.02)
            study.tell(proposal, score(proposal), 0.02)


def sequence(storage: str) -> list[str]:
    return [result.architecture.fingerprint for result in sorted(opened(storage, "surrogate").results(), key=lambda result: result.index)]


def started(*arguments: object) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("forkserver").Process(target=evaluate, args=arguments)
    process.start()
    return process


def test_processes_share_a_study(storage: str, tmp_path: Path) -> None:
    processes = [started(storage) for _ in range(2 if storage.startswith("sqlite") else STALENESS)]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    alone = f"sqlite:///{tmp_path / 'alone.db'}"
    evaluate(alone)
    assert sequence(storage) == sequence(alone)
    assert len(set(sequence(storage))) == TRIALS
    trials = optuna.load_study(study_name="search", storage=open_storage(storage).optuna).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * TRIALS


def test_a_process_that_is_killed_loses_nothing(storage: str) -> None:
    victim, others = started(storage), [started(storage)]
    while opened(storage, "surrogate").num_results < 4:
        time.sleep(0.05)
    victim.kill()
    for process in others:
        process.join(120)
    assert others[0].exitcode == 0
    trials = optuna.load_study(study_name="search", storage=open_storage(storage).optuna).trials
    states = [trial.state.name for trial in trials]
    assert states.count("COMPLETE") == len(set(sequence(storage))) == TRIALS
    assert len(trials) <= TRIALS + 1
    assert "RUNNING" not in states


def test_another_hosts_heartbeats_count(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = opened(url, "random")
    elsewhere = replace(this_process_id(), host="elsewhere")
    proposal = study.ask(TRIALS)
    assert proposal is not None
    storage = open_storage(url).optuna
    (stored,) = storage.get_all_studies()
    study_id = storage.get_study_id_from_name(stored.study_name)
    trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, proposal.number)
    storage.set_trial_user_attr(trial_id, PROCESS, asdict(elsewhere))
    watching = opened(url, "random")
    watching._heartbeat = Heartbeat(storage, study_id, grace_seconds=0.3)
    following = watching.ask(TRIALS)
    assert following is not None
    assert following.architecture != proposal.architecture
    for sign in range(3):
        time.sleep(0.2)
        storage.set_study_user_attr(study_id, f"heartbeat:elsewhere:{elsewhere.pid}:{elsewhere.started}", sign)
        assert not watching._heartbeat.is_dead(elsewhere)
    time.sleep(0.4)
    again = watching.ask(TRIALS)
    assert again is not None
    assert again.architecture == proposal.architecture
    # Back from a long sleep, the other process finds that its result is no longer wanted.
    assert study.tell(proposal, score(proposal), 0.1) is None
    assert watching.tell(again, score(again), 0.1) is not None


def test_a_second_command_joins_a_search(folder: Path, postgresql: NewDatabase) -> None:
    storage = postgresql()
    argv = command(folder, "--storage", storage, "--trials", "12")
    with running(search.main, argv):
        while not (folder / "run" / "config.json").exists():
            time.sleep(0.05)
        with running(join.main, [str(folder / "run"), "--workers", "1", "--storage", storage]) as (helper, output):
            helper.join(120)
            assert helper.exitcode == 0, output.read_text()
            assert "12 in all" in output.read_text()
    assert search.main(argv) == 0
    alone = [*argv, "--out", str(folder / "alone"), "--storage", f"sqlite:///{folder / 'alone.db'}"]
    assert search.main(alone) == 0
    found = [rows_of(folder / out / "trials.csv") for out in ("run", "alone")]
    assert found[0] == found[1]
    assert load_architecture(folder / "run" / "best.yaml").fingerprint == load_architecture(folder / "alone" / "best.yaml").fingerprint


def test_joining_needs_a_search(folder: Path, mistaken: Mistaken) -> None:
    assert "expected one with a config.json" in mistaken(join.main, [str(folder)])
    assert train.main(["--space", str(folder / "tiny.yaml"), "--data", str(folder / "images"), "--steps", "1", "--batch-size", "8",
                       "--out", str(folder / "run")]) == 0  # fmt: skip
    assert "expected that of a search" in mistaken(join.main, [str(folder / "run")])


def test_joining_an_ended_search_does_nothing(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished / "run"
    assert join.main([str(run)]) == 0
    said = capsys.readouterr().out
    assert said == f"{run}: no architecture left to evaluate, 5 in all; for more, run the search again with more --trials\n"


def test_a_run_of_another_version_cannot_be_joined(finished: Path, tmp_path: Path, mistaken: Mistaken) -> None:
    run = shutil.copytree(finished / "run", tmp_path / "run")
    document = json.loads((run / "config.json").read_text())
    for package, version in document["versions"].items():
        (run / "config.json").write_text(json.dumps(document | {"versions": document["versions"] | {package: "0.0.1"}}))
        assert f"{run}: made with {package} 0.0.1, got {version}; install that" in mistaken(join.main, [str(run), "--dry-run"])
    # Another version may know other settings, too: it is the version that is told.
    del document["config"]["trials"]
    (run / "config.json").write_text(json.dumps(document | {"versions": {"token-mixer-nas": "0.0.1"}}))
    assert "made with token-mixer-nas 0.0.1" in mistaken(join.main, [str(run)])


def test_a_study_in_a_file_is_not_joined_from_another_host(finished: Path, tmp_path: Path, mistaken: Mistaken) -> None:
    run = shutil.copytree(finished / "run", tmp_path / "run")
    elsewhere = replace(this_process_id(), host="elsewhere")
    (run / LOCK).write_text(json.dumps(asdict(LockHolder(elsewhere, "nas.search", "2026-01-02 03:04"))))
    complaint = mistaken(join.main, [str(run)])
    assert f"{run}: got a search on elsewhere, whose study {run}/study.journal serves one host; join it there, or" in complaint
    # A server's study serves all.
    complaint = mistaken(join.main, [str(run), "--wait", "0", "--storage", "postgresql://nobody@127.0.0.1:1/none"])
    assert "storage: postgresql://nobody@127.0.0.1:1/none" in complaint


def test_joining_waits_for_a_search_to_begin(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = shutil.copytree(finished / "run", tmp_path / "run")
    (run / "study.journal").unlink()
    assert join.main([str(run), "--wait", "0"]) == 2
    said = capsys.readouterr()
    assert said.err == f"error: {run}: got no study 'run' within 0 min, expected a search that has trained its supernet\n"
    assert join.main([str(run), "--wait", "0.001"]) == 2
    assert capsys.readouterr().out == f"{run}: the search has not begun to evaluate; waiting up to 0.001 min\n"
