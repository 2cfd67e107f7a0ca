"""What a trial shows in optuna-dashboard: its architecture as a file and as a drawing, costs, its constraint, and a front of several."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
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
from supernet.accuracy import Score
from tests.nas.small_search import BUDGET, SPACE

TRIALS = 6
PATIENCE = 60.0


def opened(folder: Path, storage: str = "") -> ArchitectureStudy:
    budget = parse_budget(BUDGET, floor=0.0)
    band, objectives = ArchitectureBand(parse_space(SPACE, "tiny"), budget), objectives_of(["accuracy", "macs"], budget)
    url = storage or f"sqlite:///{folder}/study.db"
    return ArchitectureStudy(url, "mine", band, budget, objectives, "random", seed=0, lag=2, artifacts=folder / "artifacts")


def searched(folder: Path, storage: str = "") -> ArchitectureStudy:
    """A study of two objectives with some results and a trial under way."""
    study = opened(folder, storage)
    for number in range(TRIALS):
        proposal = study.ask(TRIALS + 1)
        assert proposal is not None
        study.tell(proposal, Score(0.1 * number, 0.01, 0.1 * number - 2, 0.01, 100), 0.5)
    assert study.ask(TRIALS + 1) is not None
    return study


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_every_trial_has_its_architecture_and_a_drawing_from_its_first_moment_on(kind: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db" if kind == "sqlite" else f"journal:{tmp_path}/journal.log"
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
    assert study.architecture(0).fingerprint == trials[0].user_attrs["fingerprint"]


def test_what_was_deleted_is_there_again_when_the_search_goes_on(tmp_path: Path) -> None:
    searched(tmp_path)
    before = {file.name: file.read_bytes() for file in (tmp_path / "artifacts").iterdir()}
    assert len(before) == 2 * (TRIALS + 1)
    first, second, *_ = (tmp_path / "artifacts").iterdir()
    first.unlink()
    second.write_bytes(b"")
    with opened(tmp_path).used():
        pass
    assert {file.name: file.read_bytes() for file in (tmp_path / "artifacts").iterdir()} == before
    shutil.rmtree(tmp_path / "artifacts")
    with opened(tmp_path).used():
        pass
    assert {file.name: file.read_bytes() for file in (tmp_path / "artifacts").iterdir()} == before


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real dashboard, started as a search tells to, on loopback."""
    folder = tmp_path_factory.mktemp("dashboard")
    searched(folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = Path(sys.executable).parent / "optuna-dashboard"
    options = [for_dashboard(f"sqlite:///{folder}/study.db"), "--artifact-dir", str(folder / "artifacts"), "--port", str(port)]
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


def test_the_dashboard_serves_artifacts_costs_constraints_and_the_front(dashboard: str) -> None:
    study: dict[str, Any] = json.loads(fetched(f"{dashboard}/api/studies/1?after=0")[1])
    assert study["directions"] == ["maximize", "minimize"]
    assert study["objective_names"] == ["log-likelihood", "GFLOPs"]
    assert 1 <= len(study["best_trials"]) <= TRIALS
    assert len(study["trials"]) == TRIALS + 1
    for trial in study["trials"]:
        attributes = {attribute["key"]: attribute["value"] for attribute in trial["user_attrs"]}
        assert int(attributes["macs"]) > 0
        assert int(attributes["params"]) > 0
        assert trial["constraints"] == [pytest.approx(float(attributes["over_budget"]), abs=1e-5)]
        assert trial["constraints"][0] <= 0
        served = {}
        for artifact in trial["artifacts"]:
            served[artifact["filename"]] = fetched(f"{dashboard}/artifacts/1/{trial['trial_id']}/{artifact['artifact_id']}")
        assert served[DRAWING][0] == "image/svg+xml"
        assert f"name: mine-trial-{trial['number']}\n".encode() in served[YAML][1]


@pytest.mark.soak
def test_a_browser_shows_the_drawing_and_the_front(dashboard: str, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")

    def seen(page: str) -> str:
        headless = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
        command = [*headless, "--virtual-time-budget=8000", f"{dashboard}/dashboard/studies/1{page}"]
        return subprocess.run(command, capture_output=True, timeout=120, check=True).stdout.decode()

    trial = seen("/trials?numbers=1")
    assert "architecture.svg" in trial
    assert "architecture.yaml" in trial
    assert "/artifacts/1/2/" in trial
    assert "over_budget" in trial
    assert "Pareto Front" in seen("")
