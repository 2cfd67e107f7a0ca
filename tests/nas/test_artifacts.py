"""What a trial shows in optuna-dashboard: its architecture as a file and as a drawing, costs, and a front of several."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta
from optuna.trial import TrialState

from nas.runs.storage_url import for_dashboard
from nas.study.architecture_study import ArchitectureStudy
from nas.study.artifacts import DRAWING, YAML
from nas.study.objectives import objectives_of
from nas.study.storage import open_storage
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from space.files import load_architecture, load_provenance, parse_space
from supernet.score import Score
from tests.nas.small_search import BUDGET, SPACE

TRIALS = 6
STORED = {"create_new_trial", "set_trial_system_attr", "set_trial_user_attr", "set_trial_state_values"}
"""Methods of Optuna's storages that write something of a trial."""
PATIENCE = 60.0


def opened(folder: Path, storage: str = "") -> ArchitectureStudy:
    budget = parse_budget(BUDGET, floor=0.0)
    band, objectives = ArchitectureBand(parse_space(SPACE, "tiny"), budget), objectives_of(["accuracy", "macs"], budget)
    url = storage or f"journal:{folder}/study.journal"
    return ArchitectureStudy(url, "mine", band, budget, objectives, "random", seed=0, staleness=2, artifacts=folder / "artifacts")


def searched(folder: Path, storage: str = "") -> ArchitectureStudy:
    """A study of two objectives with some results and a trial under way."""
    study = opened(folder, storage)
    for number in range(TRIALS):
        proposal = study.ask(TRIALS + 1)
        assert proposal is not None
        study.tell(proposal, Score(0.1 * number, 0.01, 0.1 * number - 2, 0.01, 100), 0.5)
    assert study.ask(TRIALS + 1) is not None
    return study


def url_of(kind: str, folder: Path) -> str:
    return f"sqlite:///{folder}/study.db" if kind == "sqlite" else f"journal:{folder}/study.journal"


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_every_trial_that_is_evaluated_has_its_architecture_and_a_drawing(kind: str, tmp_path: Path) -> None:
    url = url_of(kind, tmp_path)
    study = searched(tmp_path, url)
    storage, store = open_storage(url).optuna, FileSystemArtifactStore(tmp_path / "artifacts")
    trials = storage.get_all_trials(storage.get_study_id_from_name("mine"))
    assert [trial.state for trial in trials] == [*[TrialState.COMPLETE] * TRIALS, TrialState.RUNNING]
    for trial in trials:
        found = {meta.filename: meta for meta in get_all_artifact_meta(trial, storage=storage)}
        assert found.keys() == {YAML, DRAWING}
        file = tmp_path / "artifacts" / found[YAML].artifact_id
        architecture = load_architecture(file)
        assert architecture.name == f"mine-trial-{trial.number}"
        assert architecture.fingerprint == trial.user_attrs["fingerprint"]
        provenance = load_provenance(file)
        assert (provenance["trial"], provenance["macs"]) == (trial.number, trial.user_attrs["macs"])
        assert found[DRAWING].mimetype == "image/svg+xml"
        with store.open_reader(found[DRAWING].artifact_id) as drawing:
            assert architecture.name in " ".join(ElementTree.parse(drawing).getroot().itertext())
    assert study.proposal(0).architecture.fingerprint == trials[0].user_attrs["fingerprint"]


def test_what_was_deleted_is_there_again_when_the_search_goes_on(tmp_path: Path) -> None:
    searched(tmp_path)
    before = {file.name: file.read_bytes() for file in (tmp_path / "artifacts").iterdir()}
    assert len(before) == 2 * (TRIALS + 1)
    first, second, *_ = (tmp_path / "artifacts").iterdir()
    first.unlink()
    # As a loss of power leaves it.
    second.write_bytes(b"")
    with opened(tmp_path).session():
        pass
    assert {file.name: file.read_bytes() for file in (tmp_path / "artifacts").iterdir()} == before
    shutil.rmtree(tmp_path / "artifacts")
    with opened(tmp_path).session():
        pass
    assert {file.name: file.read_bytes() for file in (tmp_path / "artifacts").iterdir()} == before


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
@pytest.mark.parametrize("step", range(9))
def test_a_process_that_dies_at_any_step_leaves_no_value_without_files(kind: str, step: int, tmp_path: Path) -> None:
    """A trial appears, has two files named and written, has attributes and ends: between any two of these nothing is lost."""
    url = url_of(kind, tmp_path)
    process = multiprocessing.get_context("fork").Process(target=_die, args=(tmp_path, url, step))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    study = opened(tmp_path, url)
    with study.session():
        while study.num_results < 2:
            proposal = study.ask(2)
            assert proposal is not None
            study.tell(proposal, Score(0.5, 0.01, -0.5, 0.01, 100), 0.5)
    storage, store = open_storage(url).optuna, FileSystemArtifactStore(tmp_path / "artifacts")
    complete = storage.get_all_trials(storage.get_study_id_from_name("mine"), states=(TrialState.COMPLETE,))
    for trial in complete:
        found = {meta.filename: meta for meta in get_all_artifact_meta(trial, storage=storage)}
        assert found.keys() == {YAML, DRAWING}
        with store.open_reader(found[YAML].artifact_id) as file:
            assert b"name: mine-trial-" in file.read()
    whole = tmp_path / "whole"
    whole.mkdir()
    alone = searched(whole, url_of(kind, whole))
    expected = [alone.proposal(number).architecture.fingerprint for number in range(2)]
    assert [trial.user_attrs["fingerprint"] for trial in complete] == expected


def _die(folder: Path, url: str, step: int) -> None:
    """Have this process killed before something is written for the first trial for the step-th time, or when all is written."""
    study = opened(folder, url)
    steps = count()

    def watch(frame: FrameType, event: str, argument: object) -> None:
        # A storage may pass a call on to another one.
        is_write = event == "call" and _is_write(frame) and not _is_write(frame.f_back)
        if is_write and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)
    proposal = study.ask(2)
    assert proposal is not None
    study.tell(proposal, Score(0.5, 0.01, -0.5, 0.01, 100), 0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def _is_write(frame: FrameType | None) -> bool:
    return frame is not None and (frame.f_code.co_name in STORED or frame.f_code.co_qualname == "_Store.write")


@pytest.fixture(scope="module", params=["journal", "sqlite"])
def dashboard(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real dashboard, started as a search tells to, on loopback."""
    folder = tmp_path_factory.mktemp("dashboard")
    url = url_of(request.param, folder)
    searched(folder, url)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = Path(sys.executable).parent / "optuna-dashboard"
    options = [for_dashboard(url), "--artifact-dir", str(folder / "artifacts"), "--port", str(port)]
    with subprocess.Popen([str(program), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def fetched(url: str) -> tuple[str, bytes]:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return answer.headers["Content-Type"], answer.read()


def only_study(dashboard: str) -> int:
    (study,) = json.loads(fetched(f"{dashboard}/api/studies")[1])["study_summaries"]
    return int(study["study_id"])


def test_the_dashboard_serves_artifacts_costs_and_the_front(dashboard: str) -> None:
    study_id = only_study(dashboard)
    study: dict[str, Any] = json.loads(fetched(f"{dashboard}/api/studies/{study_id}?after=0")[1])
    assert study["directions"] == ["maximize", "minimize"]
    assert study["objective_names"] == ["log-likelihood", "GFLOPs"]
    assert 1 <= len(study["best_trials"]) <= TRIALS
    assert len(study["trials"]) == TRIALS + 1
    for trial in study["trials"]:
        attributes = {attribute["key"]: attribute["value"] for attribute in trial["user_attrs"]}
        assert int(attributes["macs"]) > 0
        assert int(attributes["params"]) > 0
        assert float(attributes["over_budget"]) <= 0
        served = {}
        for artifact in trial["artifacts"]:
            served[artifact["filename"]] = fetched(f"{dashboard}/artifacts/{study_id}/{trial['trial_id']}/{artifact['artifact_id']}")
        assert served[DRAWING][0] == "image/svg+xml"
        assert f"name: mine-trial-{trial['number']}\n".encode() in served[YAML][1]


@pytest.mark.soak
def test_a_browser_shows_the_drawing_and_the_front(dashboard: str, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    study_id = only_study(dashboard)

    def seen(page: str) -> str:
        headless = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
        command = [*headless, "--virtual-time-budget=8000", f"{dashboard}/dashboard/studies/{study_id}{page}"]
        return subprocess.run(command, capture_output=True, timeout=120, check=True).stdout.decode()

    trial = seen("/trials?numbers=1")
    assert "architecture.svg" in trial
    assert "architecture.yaml" in trial
    assert f"/artifacts/{study_id}/" in trial
    assert "over_budget" in trial
    assert "Pareto Front" in seen("")
