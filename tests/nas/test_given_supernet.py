"""Searching a supernet that another run has trained: under another budget, and it stays as it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nas import join
from nas.audit import __main__ as audit
from nas.compare import __main__ as compare
from nas.compare.comparison import EqualConditions
from nas.evaluators.supernet import load_evaluator
from nas.report import __main__ as report
from nas.search import __main__ as search
from nas.search import search as search_in_python
from nas.search.config import search_config_of
from nas.train import __main__ as train
from nas.train.supernet_run import open_supernet_run
from proxies.cost import parse_budget
from space import load_architecture, load_provenance
from tests.nas.conftest import Mistaken
from tests.nas.small_search import command, study_of
from tests.pictures import write_pictures

BUDGET = "2.2MFLOPs"
RECIPE = "schema: recipe/1\nepochs: 1\nbatch_size: 8\nlr: 1.0e-3\nmin_area: 0.8\nvalidation: 0.1\n"


def of_supernet(folder: Path, supernet: Path, *more: str) -> list[str]:
    """A small search of it, with what a supernet does not give."""
    small = ["--trials", "5", "--keep", "2", "--workers", "1", "--halving-candidates", "2", "--halving-steps", "2"]
    return ["--supernet", str(supernet), "--budget", BUDGET, "--floor", "0.5", *small, "--out", str(folder / "second"), *more]


@pytest.fixture(scope="module")
def place(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished search, and in `second` one of its supernet under another budget."""
    place = shutil.copytree(finished, tmp_path_factory.mktemp("given") / "place")
    (place / "recipe.yaml").write_text(RECIPE)
    before = contents(place / "run")
    assert search.main(of_supernet(place, place / "run", "--data", str(place / "images"))) == 0
    assert contents(place / "run") == before
    return place


def contents(run: Path) -> dict[str, bytes]:
    return {str(file.relative_to(run)): file.read_bytes() for file in run.rglob("*") if file.is_file()}


@pytest.fixture
def second(place: Path, tmp_path: Path) -> Path:
    """A copy of that search's directory, which a test may change; the supernet lies where it lay."""
    return Path(shutil.copytree(place / "second", tmp_path / "second"))


def test_it_is_searched_inside_the_other_budget_and_writes_what_it_gives(place: Path) -> None:
    run, budget = place / "second", parse_budget(BUDGET, 0.5)
    trials = study_of(run).trials
    assert len(trials) == 5
    assert all(budget.least <= trial.user_attrs["macs"] <= budget.limits["macs"] for trial in trials)
    assert not (run / "supernet.safetensors").exists()
    best = load_architecture(run / "best.yaml")
    evaluator = load_evaluator(open_supernet_run(place / "run", place / "images"))
    inherited = evaluator.network(best).state_dict()
    written = load_file(run / "best.safetensors")
    assert written.keys() == inherited.keys()
    assert all(torch.equal(written[name], inherited[name]) for name in written)
    assert load_provenance(run / "best.yaml")["log_likelihood"] == evaluator(best).log_likelihood


def test_the_run_holds_the_data_and_the_space_that_it_searched(place: Path, folder: Path) -> None:
    """Given the same images at another path, it is that path that everyone goes by who goes on with the run."""
    config = json.loads((place / "second" / "config.json").read_text())["config"]
    assert (config["data"], config["space"]) == (str(place / "images"), str(search_config_of(place / "run").space))
    assert search.main(of_supernet(folder, place / "run", "--data", str(folder / "images"))) == 0
    assert search_config_of(folder / "second").data == str(folder / "images")
    assert study_of(folder / "second").trials[0].params == study_of(place / "second").trials[0].params


def test_it_goes_on_and_others_join(place: Path, second: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = of_supernet(place, place / "run", "--out", str(second))
    assert search.main([*argv, "--trials", "6", "--data", str(place / "images")]) == 0
    assert len(study_of(second).trials) == 6
    document = json.loads((second / "config.json").read_text())
    document["config"]["trials"] = 7
    (second / "config.json").write_text(json.dumps(document))
    capsys.readouterr()
    assert join.main([str(second), "--workers", "1"]) == 0
    assert "1 architectures evaluated meanwhile, 7 in all" in capsys.readouterr().out


def test_comparing_and_reporting_know_whose_supernet_it_is(
    place: Path, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ["--workers", "1", "--recipe", str(place / "recipe.yaml"), "--random", "1", "--seeds", "1"]
    compared: list[EqualConditions] = []
    retraining = EqualConditions.retraining

    def noted(comparison: EqualConditions, *arguments: object) -> object:
        compared.append(comparison)
        return retraining(comparison, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(EqualConditions, "retraining", noted)
    assert compare.main([str(second), *small]) == 0
    assert {comparison.images.identity for comparison in compared} == {str(place / "images")}
    assert (second / "comparison" / "comparison.csv").read_text().count("\nrandom 1,") == 1
    assert report.main([str(second), "--ablation"]) == 0
    page = (second / "report.html").read_text()
    for printed in ("the supernet&#39;s weights", f"--supernet {place / 'run'}", "images, 3 classes, at 32 px"):
        assert printed in page, printed
    assert "--steps" not in page
    assert (second / "ablation.json").exists()


def test_what_is_the_supernets_is_refused(place: Path, folder: Path, mistaken: Mistaken) -> None:
    argv = of_supernet(folder, place / "run")
    for option in (["--space", "hybrid-32"], ["--image-size", "32"], ["--steps", "3"], ["--lr", "0.001"], ["--warm-start", "a=b"]):
        complaint = mistaken(search.main, [*argv, *option])
        assert complaint.startswith(f"error: {option[0]}: is that of the supernet in {place / 'run'}; leave it out")
    assert not (folder / "second").exists()


def test_an_audit_of_it_is_one_of_the_supernet_that_judged(second: Path) -> None:
    few = ["--architectures", "4", "--seeds", "1", "--steps", "1", "--batch-size", "8", "--short", "1", "--long", "0", "--workers", "1"]
    assert audit.main(["--run", str(second), *few]) == 0
    assert "supernet" in json.loads((second / "audit" / "report.json").read_text())["facts"]


def test_images_of_other_classes_are_refused(place: Path, folder: Path, mistaken: Mistaken) -> None:
    write_pictures(folder / "others" / "train", ("ant", "bee"), count=20)
    complaint = mistaken(search.main, of_supernet(folder, place / "run", "--data", str(folder / "others")))
    assert f"data: got 2 classes, expected as many as the supernet in {place / 'run'} was trained on" in complaint


def test_what_is_no_trained_supernet_is_refused(place: Path, folder: Path, mistaken: Mistaken) -> None:
    assert "expected one with a config.json" in mistaken(search.main, of_supernet(folder, folder))
    judged = ["--evaluator", "standalone", "--standalone-steps", "1", "--out", str(folder / "alone"), "--trials", "1"]
    assert search.main(command(folder, *judged, trains=False)) == 0
    complaint = mistaken(search.main, of_supernet(folder, folder / "alone"))
    assert f"supernet: got {folder / 'alone'} without supernet.safetensors, expected the directory of a trained supernet" in complaint


def test_one_that_was_trained_alone_is_searched_under_two_budgets(folder: Path) -> None:
    trained = folder / "trained"
    small = ["--steps", "3", "--batch-size", "8", "--out", str(trained)]
    assert train.main(["--space", str(folder / "tiny.yaml"), "--data", str(folder / "images"), *small]) == 0
    before = contents(trained)
    for budget in ("2.2MFLOPs", "3MFLOPs"):
        found = search_in_python(
            budget, supernet=trained, floor=0.5, trials=3, keep=1, workers=1, halving_candidates=0, out=folder / budget
        )
        assert found.best.cost.macs <= parse_budget(budget, 0.5).limits["macs"]
        assert found.best.network().architecture == found.best.architecture
        config = json.loads((folder / budget / "config.json").read_text())["config"]
        assert config["data"] == str(folder / "images"), "that of the supernet, where none is given"
    assert contents(trained) == before
