"""Curves reach Weights & Biases and MLflow without a network, and go on in the run that was begun."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from nas.cli.options import OptionError
from nas.cli.trackers.by_name import TENSORBOARD, TRACKERS, check_tracker
from nas.cli.trackers.scalars import LOSS, Scalars
from nas.cli.trackers.tensorboard import FOLDER
from nas.cli.trackers.tracker import PROJECT, Place, TrackerError
from nas.retrain.config import RetrainConfig
from nas.search import __main__ as search
from nas.search.curves import SearchCurves
from nas.train.config import TrainingConfig
from supernet.score import Score
from supernet.training.step import StepReport
from tests.commands import ROOT
from tests.nas.event_files import shown
from tests.nas.small_search import BUDGET

OTHERS = [name for name in TRACKERS if name != TENSORBOARD]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's directory, on a machine without a network."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(json.dumps({"name": "mine", "config": {"steps": 5, "lr": 0.1}}))
    return tmp_path / "mine"


def write(run: Path, tracker: str) -> None:
    """Curves of a training that was interrupted and continued."""
    for steps in (range(1, 4), range(4, 6)):
        with Scalars(run, 5, batch_size=4, tracker=tracker) as scalars:
            for step in steps:
                scalars.follow(StepReport(step, 1 / step, 0.1, 0, 0.5, None))


def test_mlflow_has_one_run_of_a_training_that_was_continued(run: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed")
    write(run, "mlflow")
    client = mlflow.MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name(PROJECT).experiment_id])
    assert found.info.run_name == "mine"
    assert found.data.params == {"steps": "5", "lr": "0.1"}
    assert {one.step: one.value for one in client.get_metric_history(found.info.run_id, LOSS)} == {n: 1 / n for n in range(1, 6)}


def test_a_tracker_that_cannot_be_reached_ends_in_one_line(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://here")
    with pytest.raises(TrackerError, match=r"^log: mlflow failed: \S.*$"):
        write(run, "mlflow")


def test_wandb_writes_files_of_one_run_where_it_is_offline(run: Path) -> None:
    pytest.importorskip("wandb", reason="Weights & Biases is not installed")
    write(run, "wandb")
    files = [*run.parent.rglob("*.wandb")]
    assert len({file.name for file in files}) == 1
    assert all(file.stat().st_size for file in files)


def test_a_run_that_was_made_anew_begins_other_curves(run: Path) -> None:
    numbers = iter("ab")
    first = Place(run).id_of("wandb", lambda: next(numbers))
    moved = run.rename(run.with_name("moved"))
    assert Place(moved).id_of("wandb", lambda: next(numbers)) == first
    run.mkdir()
    assert Place(run).id_of("wandb", lambda: next(numbers)) != first


@pytest.mark.parametrize("name", OTHERS)
def test_a_package_that_is_absent_is_told_in_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.cli.packages.find_spec", lambda _: None)
    with pytest.raises(OptionError, match=rf"^log: got no {name}, expected it installed: pip install 'token-mixer-nas\[{name}\]'$"):
        check_tracker(name)
    for config, given in ((TrainingConfig, {}), (RetrainConfig, {"architecture": "davit-t"})):
        with pytest.raises(OptionError, match="pip install"):
            config(log=name, **given)


def test_the_scores_of_a_search_become_curves(folder: Path) -> None:
    fixed = ["--space", str(folder / "tiny.yaml"), "--budget", BUDGET, "--floor", "0.5", "--data", str(folder / "images")]
    small = ["--steps", "2", "--batch-size", "8", "--workers", "1", "--halving-candidates", "0", "--out", str(folder / "searched")]
    for trials in ("2", "4"):
        assert search.main([*fixed, *small, "--trials", trials]) == 0
    found = shown(folder / "searched" / FOLDER / "search")
    assert found["trial, log-likelihood"].keys() == found["best, accuracy"].keys() == {1, 2, 3, 4}
    best = [*found["best, log-likelihood"].values()]
    assert best == sorted(best)


def test_a_score_of_a_callers_function_is_one_curve(run: Path) -> None:
    with SearchCurves(TENSORBOARD, run) as curves:
        curves.add(1, Score.of_number(3.0), Score.of_number(4.0))
    assert shown(run / FOLDER / "search") == {"trial, score": {1: 3.0}, "best, score": {1: 4.0}}


@pytest.mark.parametrize("name", OTHERS)
def test_an_extra_installs_a_tracker(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert any(package.startswith(name) for package in project["optional-dependencies"][name])
