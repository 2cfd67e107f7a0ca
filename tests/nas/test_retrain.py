"""`python -m nas.retrain`: from an architecture's file to weights and a test accuracy."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from nas.retrain import retrain, retraining
from nas.retrain.__main__ import main
from nas.retrain.measuring import measure
from nas.retrain.recipe import load_recipe
from nas.runs.records.metadata import read_metadata
from nas.train.__main__ import main as train_main
from space.architecture import Architecture
from space.errors import SpaceError, UserError
from space.files import dump_architecture, load_architecture, load_provenance, load_space
from space.network import build_network
from space.weights import load_weights
from supernet.data.images import ImageSet, open_images, open_test_images
from supernet.data.sources import kinds
from supernet.data.splits import split
from supernet.training import compilation
from supernet.training.distributed import own_device
from supernet.training.loop import train_network
from supernet.training.state import TrainState
from supernet.training.step import StepReport
from tests.pictures import write_pictures

RECIPE = """
schema: recipe/1
epochs: 3
batch_size: 6
lr: 3.0e-3
warmup_epochs: 1.0
mixup: 0.2
mix_prob: 0.5
drop_path: 0.1
ema_decay: 0.5
min_area: 0.8
auto_augment: rand-m5-n1
erase: 0.1
validation: 0.2
"""
TINY = load_space("hybrid-32").smallest().replace(name="tiny", num_classes=5)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with pictures, a recipe and an architecture, to run commands in."""
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "set" / "train", count=8)
    write_pictures(tmp_path / "set" / "val", count=4)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "tiny.yaml").write_text(dump_architecture(TINY, {"role": "next best", "trial": 17}))
    return tmp_path


def same_weights(one: Path, other: Path) -> None:
    """Assert that two runs came to the same weights, the last and the best."""
    for file in ("weights.safetensors", "best.safetensors"):
        ours, theirs = load_file(one / file), load_file(other / file)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


COMMAND = ["tiny.yaml", "--data", "set", "--recipe", "recipe.yaml"]


def test_a_retraining_writes_weights_metrics_and_results(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--epochs", "8", "--out", "run"]) == 0
    shown = capsys.readouterr().out
    results = json.loads((work / "run" / "result.json").read_text())
    assert results["test"]["images"] == 12
    assert results["validation"]["images"] == 5
    assert results["finished"]
    # Classes that differ in colour are learnt at once.
    assert results["test"]["value"] > 0.6
    low, high = results["test"]["interval95"]
    assert 0 <= low < results["test"]["value"] <= high <= 1
    assert f"{results['test']['value']:.2%}" in shown

    architecture = load_architecture(work / "run" / "architecture.yaml")
    assert architecture == TINY.replace(num_classes=3)
    provenance = load_provenance(work / "run" / "architecture.yaml")
    assert (provenance["role"], provenance["trial"], provenance["trained"]["role"]) == ("next best", 17, "next best")
    assert provenance["trained"]["class_names"] == ["ant", "bee", "cow"]
    network = build_network(architecture)
    network.load_state_dict(load_file(work / "run" / "weights.safetensors"))
    test = open_test_images("set", None, open_images("set").class_names)
    assert test is not None
    assert measure(network, test, range(len(test)), 32).score.value == results["test"]["value"]

    with (work / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 9))
    assert int(rows[-1]["steps"]) == results["steps"] == results["planned_steps"]
    assert all(0 <= float(row["validation_accuracy"]) <= 1 and float(row["loss"]) > 0 for row in rows)
    best = max(rows, key=lambda row: float(row["validation_accuracy"]))
    assert results["best"]["epoch"] == int(best["epoch"])
    assert results["best"]["value"] == pytest.approx(float(best["validation_accuracy"]), abs=1e-6)
    network.load_state_dict(load_file(work / "run" / "best.safetensors"))
    images = open_images("set")
    part = split(images, 0, num_search=5, num_calibration=0).search
    assert measure(network, images, part, 32).score.value == results["best"]["value"]
    assert results["class_names"] == ["ant", "bee", "cow"]
    last, kept = (read_metadata(work / "run" / f"{name}.safetensors") for name in ("weights", "best"))
    assert last is not None
    assert kept is not None
    for metadata in (last, kept):
        assert metadata.class_names == ("ant", "bee", "cow")
        assert metadata.preprocessing.image_size == 32
    # Only the last weights were tested.
    assert last.test is not None
    assert last.test.value == results["test"]["value"]
    assert (kept.test, kept.epoch) == (None, results["best"]["epoch"])
    config = json.loads((work / "run" / "config.json").read_text())["config"]
    assert config["recipe"]["epochs"] == 8
    assert config["image_size"] == 32


def test_the_same_command_again_trains_nothing(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*COMMAND, "--epochs", "1", "--out", "run"]
    assert main(command) == 0
    before = (work / "run" / "result.json").read_bytes()
    first = capsys.readouterr().out
    monkeypatch.setattr(retraining, "train_network", None)
    assert main(command) == 0
    assert (work / "run" / "result.json").read_bytes() == before
    assert capsys.readouterr().out.split("tiny", 1)[-1].splitlines()[-3:] == first.splitlines()[-3:]


def test_a_resumed_run_equals_an_uninterrupted_one(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main([*COMMAND, "--out", "whole"]) == 0

    def interrupted(*arguments: object, on_step: object, **options: object) -> TrainState:
        def follow(report: StepReport) -> None:
            on_step(report)  # type: ignore[operator]
            if report.step == 5:
                signal.raise_signal(signal.SIGINT)

        return train_network(*arguments, on_step=follow, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(retraining, "train_network", interrupted)
    assert main([*COMMAND, "--out", "parts"]) == 130
    assert not (work / "parts" / "result.json").exists()
    assert (work / "parts" / "checkpoint.safetensors").exists()
    monkeypatch.undo()
    monkeypatch.chdir(work)
    assert main([*COMMAND, "--out", "parts"]) == 0
    assert (work / "parts" / "metrics.csv").read_bytes() == (work / "whole" / "metrics.csv").read_bytes()
    assert not list((work / "parts").glob("checkpoint*"))
    same_weights(work / "parts", work / "whole")


def fail_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every training be compiled, by a compiler that fails."""

    def fail(*_: object, **__: object) -> None:
        raise OSError("no compiler")

    monkeypatch.setattr(compilation, "MIN_STEPS", {own_device().type: 1})
    monkeypatch.setattr(compilation, "BACKEND", fail)


def test_a_failing_compiler_ends_no_training(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fail_to_compile(monkeypatch)
    command = [*COMMAND, "--epochs", "1"]
    assert main([*command, "--compile", "off", "--out", "plain"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*command, "--out", "failed"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "OSError: no compiler" in line
    same_weights(work / "plain", work / "failed")


def test_a_training_resumes_with_another_setting_of_compile(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_to_compile(monkeypatch)
    for setting in ("auto", "off", "auto"):
        assert main([*COMMAND, "--out", "run", "--compile", setting, "--minutes", "0.00001"]) == 0
    assert json.loads((work / "run" / "result.json").read_text())["steps"] == 3


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_torch_compiles_a_training_twice_alike(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "MIN_STEPS", {own_device().type: 1})
    command = [*COMMAND, "--epochs", "2", "--precision", "fp32"]
    for out in ("one", "two"):
        assert main([*command, "--out", out]) == 0
    same_weights(work / "one", work / "two")
    assert (work / "one" / "metrics.csv").read_bytes() == (work / "two" / "metrics.csv").read_bytes()


def test_minutes_end_a_training_and_more_minutes_continue_it(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--out", "run", "--minutes", "0.00001"]) == 0
    results = json.loads((work / "run" / "result.json").read_text())
    assert (results["steps"], results["finished"]) == (1, False)
    assert "ended by" in capsys.readouterr().out
    assert main([*COMMAND, "--out", "run"]) == 0
    assert json.loads((work / "run" / "result.json").read_text())["finished"]


def test_how_far_a_training_is_can_be_read_from_its_folder(work: Path) -> None:
    images, recipe = open_images("set"), load_recipe("recipe.yaml")
    one = retraining.Retraining(TINY.replace(num_classes=3), recipe, images, None, 32, 0, None, work / "run")
    assert one.steps_done == 0
    assert main([*COMMAND, "--out", "run", "--minutes", "0.00001"]) == 0
    assert one.steps_done == 0
    seen = list[tuple[int, int]]()
    one.run(on_step=lambda step, note: seen.append((step, one.steps_done)))
    of_epoch, whole = one.batches.steps_per_epoch, one.train_config.steps
    assert whole > of_epoch
    assert seen == [(step, step // of_epoch * of_epoch) for step in range(2, whole + 1)]
    assert one.steps_done == whole


def test_minutes_are_those_of_one_run(work: Path) -> None:
    how = {"data": "set", "recipe": "recipe.yaml", "out": "run", "minutes": 0.00001}
    assert [retrain("tiny.yaml", **how).facts["steps"] for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (["--from", "5.safetensor"], ["--from", "5.safetensors"]),
        (["--from", "supernet"], []),
        (["--batch-size", "7"], ["--batch-size", "8"]),
        (["--accumulate", "4"], ["--accumulate", "3"]),
        (["--recipe", "odd.yaml"], []),
    ],
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_mistake_leaves_no_directory(work: Path, wrong: list[str], right: list[str], more: list[str]) -> None:
    save_file(build_network(TINY).state_dict(), work / "5.safetensors")
    (work / "odd.yaml").write_text(RECIPE + "optimizer: none_such\n")
    assert main([*COMMAND, "--epochs", "1", "--out", "run", *wrong, *more]) == 2
    assert not (work / "run").exists()
    assert main([*COMMAND, "--epochs", "1", "--out", "run", *right, "--dry-run"]) == 0


def test_a_dry_run_refuses_what_the_command_refuses(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--epochs", "1", "--out", "run"]) == 0
    assert main([*COMMAND, "--epochs", "2", "--out", "run", "--dry-run"]) == 2
    assert "holds a run with epochs 1, got 2" in capsys.readouterr().err


class Own:
    """A caller's data set, that of a part of a folder."""

    def __init__(self, folder: str) -> None:
        self.images = open_images(folder)
        self.classes = self.images.class_names
        self.targets = self.images.labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return self.images.read(index), int(self.targets[index])


def test_python_and_the_command_line_resume_each_others_runs(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    how = {"data": "set", "recipe": "recipe.yaml"}
    assert main([*COMMAND, "--minutes", "0.00001", "--out", "run"]) == 0
    capsys.readouterr()
    retrained = retrain(TINY, out="run", **how)
    assert capsys.readouterr().out == ""
    assert retrained.facts["finished"]
    assert main([*COMMAND, "--out", "run"]) == 0
    shown = capsys.readouterr().out
    assert retrained.test is not None
    assert retrained.test.images == 12
    low, high = retrained.test.interval95
    assert low <= retrained.test.value <= high
    assert f"{retrained.test.value:.2%} of 12 images (95 %: {low:.2%} to {high:.2%})" in shown
    network = retrained.network()
    assert not network.training
    test = open_test_images("set", None, open_images("set").class_names)
    assert test is not None
    assert measure(network, test, range(12), 32).score.value == retrained.test.value
    assert retrained.weights_file.exists()
    assert retrained.best_weights_file == work / "run" / "best.safetensors"

    own = retrain(TINY, data=Own("set/train"), test_data=Own("set/val"), out="own", recipe="recipe.yaml")
    same_weights(work / "own", work / "run")
    assert own.test == retrained.test
    config = json.loads((work / "own" / "config.json").read_text())["config"]
    assert config["test_data"].startswith("a dataset of the caller's, Own: 12 images of 3 classes, ")
    with pytest.raises(UserError, match="holds a run with data"):
        retrain(TINY, data="set", test_data=Own("set/val"), out="own", recipe="recipe.yaml")


def test_inheriting_takes_the_weights_of_a_result(work: Path) -> None:
    @dataclass
    class Found:
        architecture: Architecture
        weights_file: Path | None

    save_file(build_network(TINY).state_dict(), work / "found.safetensors")
    how = {"data": "set", "recipe": "recipe.yaml", "epochs": 1, "from_": "supernet"}
    found = retrain(Found(TINY, work / "found.safetensors"), out="found", **how)
    shutil.copy(work / "found.safetensors", work / "tiny.safetensors")
    retrain("tiny.yaml", out="file", **how)
    same_weights(found.folder, work / "file")
    for given, said in ((TINY, "from_: got no weights beside tiny"), (Found(TINY, None), "from_: got no weights beside tiny")):
        with pytest.raises(UserError, match=said):
            retrain(given, out="other", **how)
    with pytest.raises(UserError, match="architecture: got int, expected a YAML file"):
        retrain(3, out="other", **how)
    assert not (work / "other").exists()


def test_data_are_opened_once(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    stored = kinds._stored

    def counted(path: Path, part: str, *more: object) -> ImageSet | None:
        opened.append(part)
        return stored(path, part, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(kinds, "_stored", counted)
    assert main([*COMMAND, "--epochs", "1", "--out", "run"]) == 0
    assert opened == ["train", "test"]
    opened.clear()
    how = ["--space", "hybrid-32", "--data", "set", "--steps", "1", "--batch-size", "4", "--out", "supernet"]
    assert train_main(how) == 0
    assert opened == ["train"]


def test_without_a_test_part_it_says_so(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny.yaml", "--data", "set/train", "--recipe", "recipe.yaml", "--epochs", "1", "--out", "run"]) == 0
    shown = capsys.readouterr().out
    assert "set/train has no test part and --test-data names none" in shown
    assert "not measured" in shown
    results = json.loads((work / "run" / "result.json").read_text())
    assert results["test"] is None
    assert results["validation"]["images"] == 5


def test_damaged_test_images_end_it_before_the_training(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in (work / "set" / "val" / "ant").iterdir():
        file.write_bytes(b"damaged")
    assert main([*COMMAND, "--epochs", "1", "--out", "run"]) == 2
    assert "set: got 4 images of 12 that cannot be read" in capsys.readouterr().err
    assert not (work / "run").exists()


def test_a_damaged_test_image_is_left_out_and_reported(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "set" / "val" / "ant" / "0.png").write_bytes(b"damaged")
    assert main([*COMMAND, "--epochs", "1", "--out", "run"]) == 0
    assert json.loads((work / "run" / "result.json").read_text())["test"]["images"] == 11
    (printed,) = [line for line in capsys.readouterr().err.splitlines() if "cannot be read" in line]
    assert f"1 of 12 images so far cannot be read and are passed over: {work}/set/val/ant/0.png (" in printed


def test_inherited_weights_are_the_initial_ones(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(1)
    for num_classes in (3, 5):
        save_file(build_network(TINY.replace(num_classes=num_classes)).state_dict(), work / f"{num_classes}.safetensors")
    network = build_network(TINY.replace(num_classes=3))
    assert load_weights(network, work / "3.safetensors", other_classes=True) == []
    inherited = load_file(work / "3.safetensors")
    assert all(torch.equal(tensor, inherited[name]) for name, tensor in network.state_dict().items())
    head = network.state_dict()["head.fc.weight"].clone()
    assert load_weights(network, work / "5.safetensors", other_classes=True) == ["head.fc.bias", "head.fc.weight"]
    inherited = load_file(work / "5.safetensors")
    for name, tensor in network.state_dict().items():
        assert name.startswith("head.fc.") or torch.equal(tensor, inherited[name])
    assert torch.equal(network.state_dict()["head.fc.weight"], head)
    # With a learning rate of next to nothing, the trained weights are the inherited ones.
    assert main([*COMMAND, "--from", "5.safetensors", "--lr", "1e-12", "--epochs", "1", "--out", "run"]) == 0
    assert "its head is for other classes" in capsys.readouterr().out
    trained = load_file(work / "run" / "weights.safetensors")
    torch.testing.assert_close(trained["stem.conv1.weight"], inherited["stem.conv1.weight"])


def _rename(tensors: dict[str, torch.Tensor]) -> None:
    tensors["other"] = tensors.pop("stem.conv1.weight")


def _shorten(tensors: dict[str, torch.Tensor]) -> None:
    tensors["stem.conv1.weight"] = tensors["stem.conv1.weight"][:3].clone()


def _remove(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["stem.conv1.weight"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [(_rename, "got the tensor other"), (_shorten, r"stem.conv1.weight: got shape \(3, "), (_remove, "got no tensor stem.conv1.weight")],
)
def test_weights_that_do_not_fit(tmp_path: Path, spoil: object, said: str) -> None:
    network = build_network(TINY)
    tensors = dict(network.state_dict())
    assert callable(spoil)
    spoil(tensors)
    save_file(tensors, tmp_path / "weights.safetensors")
    with pytest.raises(SpaceError, match=said):
        load_weights(network, tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.yaml"], "none.yaml: cannot be read"),
        (["tiny.yaml", "--data", "none"], "none: no such file or folder"),
        (["tiny.yaml", "--data", "set", "--test-data", "none"], "none: no such file or folder"),
        (["tiny.yaml", "--data", "set", "--recipe", "none"], "recipe: got 'none', expected one of deit, finetune, finetune-short"),
        (["tiny.yaml", "--data", "set", "--recipe", "tiny.yaml"], "tiny.yaml: schema: got 'architecture/1', expected 'recipe/1'"),
        (["tiny.yaml", "--data", "set", "--from", "none.safetensors"], "none.safetensors: got no file"),
        (["tiny.yaml", "--data", "set", "--from", "tiny.yaml"], "tiny.yaml: cannot be read as weights"),
        (["tiny.yaml", "--data", "set", "--recipe", "recipe.yaml", "--batch-size", "7"], "batch size: got 7, expected a multiple of 2"),
        (["tiny.yaml", "--data", "set", "--out", "set"], "set: not empty and not a run's directory"),
    ],
)
def test_mistakes_end_in_one_line(work: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    out = [] if "--out" in arguments else ["--out", "run"]
    assert main([*arguments, *out]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1
    assert said in errors[0]


def test_a_run_of_another_configuration_is_left_alone(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--epochs", "1", "--out", "run"]) == 0
    before = {path: path.read_bytes() for path in (work / "run").rglob("*") if path.is_file()}
    for change in (["--epochs", "2"], ["--seed", "1"], ["--lr", "0.5"], ["--image-size", "64"], ["--test-data", "digits"]):
        assert main([*COMMAND, "--epochs", "1", *change, "--out", "run"]) == 2
    other: Architecture = load_space("hybrid-32").largest()
    (work / "tiny.yaml").write_text(dump_architecture(other))
    assert main([*COMMAND, "--epochs", "1", "--out", "run"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 6
    assert {path: path.read_bytes() for path in (work / "run").rglob("*") if path.is_file()} == before


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from nas.retrain.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'timm', 'optuna', 'ray', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "--from" in done.stdout
