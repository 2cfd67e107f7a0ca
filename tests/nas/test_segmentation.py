"""The whole way on masks: a search, a retraining, a comparison, an audit and a report, in seconds, on made-up scenes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from nas.audit import __main__ as audit
from nas.compare import __main__ as compare
from nas.report import __main__ as report
from nas.retrain import __main__ as retrain
from nas.retrain.measuring import measure
from nas.retrain.recipe import load_recipe
from nas.retrain.retrained import Retrained
from nas.runs.records.examples import read_examples
from nas.score import main as score
from nas.search import __main__ as search
from nas.search import search as search_call
from nas.train import __main__ as train
from space.files import load_architecture, load_provenance, load_space
from space.network import build_network
from supernet.data.images import open_images, open_test_images
from supernet.data.segmentation.scenes import CLASS_NAMES, draw_scenes
from supernet.training.config import TrainConfig, make_optimizer
from tests.nas.conftest import Mistaken
from tests.scenes import write_ade20k

SPACE = ["--space", "tiny-seg", "--image-size", "64"]
BUDGET = ["--budget", "150MFLOPs", "--floor", "0.4"]
SEARCH = [*SPACE, *BUDGET, "--trials", "3", "--keep", "2", "--workers", "1"]
SUPERNET = ["--steps", "6", "--batch-size", "8"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scenes in `set` and a finished search in `run`."""
    folder = tmp_path_factory.mktemp("segmentation")
    write_ade20k(folder / "set", {"training": 40, "validation": 8}, kind="palette")
    halving = ["--halving-candidates", "2", "--halving-steps", "2"]
    assert search.main([*SEARCH, *SUPERNET, *halving, "--data", str(folder / "set"), "--out", str(folder / "run")]) == 0
    return folder


def test_a_search_ranks_by_the_likelihood_of_pixels_and_reports_the_mean_iou(found: Path) -> None:
    provenance = load_provenance(found / "run/best.yaml")
    assert load_architecture(found / "run/best.yaml").num_classes == 5
    assert 0 < provenance["mIoU"] < 1
    assert provenance.keys() >= {"mIoU_stderr", "pixel_accuracy", "pixel_accuracy_stderr", "log_likelihood", "halving"}
    assert "accuracy" not in provenance
    with (found / "run/trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert all(float(row["log_likelihood"]) < 0 <= float(row["mIoU"]) for row in rows)
    assert {row["num_images"] for row in rows} == {"8"}
    data = json.loads((found / "run/data.json").read_text())["train"]
    assert data["images"] == 40
    assert [*data["pixels_by_class"]] == [*CLASS_NAMES, "none"]


def test_the_report_shows_images_masks_and_answers_side_by_side(found: Path) -> None:
    architecture = load_architecture(found / "run/best.yaml")
    examples = read_examples(found / "run", architecture.fingerprint)
    assert examples is not None
    record, pictures = examples
    assert tuple(one.name for one in record.classes) == CLASS_NAMES
    mean = sum(values := [one.value for one in record.classes if one.value is not None]) / len(values)
    assert mean == pytest.approx(load_provenance(found / "run/best.yaml")["mIoU"], abs=0.05)
    assert Image.open(found / "run/examples/0.png").size == (3 * 96, 96)
    page = (found / "run/report.html").read_text()
    assert page.count("data:image/png;base64,") == len(pictures)
    for printed in ("IoU, %", "ranking mIoU, %", "is no test mIoU", "mIoU on ADE20K", "What mIoU costs", *CLASS_NAMES):
        assert printed in page
    assert "accuracy" not in page.replace("--objectives accuracy", "")


def test_a_network_is_retrained_and_measured_on_masks(found: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data", str(found / "set"), "--image-size", "64", "--epochs", "1", "--batch-size", "8", "--out", str(found / "retrained")]
    assert retrain.main([str(found / "run/best.yaml"), *options]) == 0
    shown = capsys.readouterr().out
    assert "recipe seg-short" in shown
    assert "test mIoU" in shown
    facts = json.loads((found / "retrained/result.json").read_text())
    assert (facts["test"]["metric"], facts["test"]["images"]) == ("mIoU", 8)
    assert [*facts["by_class"]] == [*CLASS_NAMES]
    again = Retrained.read(found / "retrained", load_architecture(found / "retrained/architecture.yaml"))
    assert again is not None
    images = open_images(str(found / "set"))
    test = open_test_images(images, None, images.class_names)
    assert test is not None
    judged = measure(again.network(), test, range(8), 64)
    assert judged.score.value == facts["test"]["value"]
    with (found / "retrained/metrics.csv").open() as file:
        assert [*next(csv.DictReader(file))][-1] == "validation_mIoU"


def test_networks_are_compared_and_the_ranking_audited(found: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--epochs", "1", "--batch-size", "16", "--seeds", "1", "--random", "1", "--workers", "1"]
    assert compare.main([str(found / "run"), *small]) == 0
    assert "Test mIoU, retrained alike" in capsys.readouterr().out
    with (found / "run/comparison/comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["network"] for row in rows} >= {"found", "topformer-t-seg", "random 1"}
    assert all(0 <= float(row["test_mIoU"]) <= 1 for row in rows)
    sample = ["--architectures", "4", "--seeds", "1", "--steps", "2", "--short", "1", "--long", "0", "--workers", "1"]
    assert audit.main(["--run", str(found / "run"), *sample]) == 0
    assert "supernet, by mIoU" in (found / "run/audit/report.md").read_text()
    assert report.main([str(found / "run"), "--ablation"]) == 0
    page = (found / "run/report.html").read_text()
    assert "Test mIoU" in page
    assert "gain, nats per pixel" in page


def test_architectures_may_be_judged_alone(found: Path) -> None:
    alone = ["--evaluator", "standalone", "--standalone-steps", "1", "--halving-candidates", "0"]
    assert search.main([*SEARCH, *alone, "--data", str(found / "set"), "--out", str(found / "alone")]) == 0
    assert load_provenance(found / "alone/best.yaml")["mIoU"] > 0


def test_a_race_stops_on_masks_of_several_sizes(found: Path) -> None:
    folder = write_ade20k(found / "sizes", {"training": 40})
    for number in range(0, 40, 3):
        for top in ("images", "annotations"):
            file = folder / top / "training" / f"{number}.png"
            Image.open(file).resize((100, 80), Image.Resampling.NEAREST).save(file)
    race = ["--race", "--halving-candidates", "0", "--data", str(folder), "--out", str(found / "race")]
    assert search.main([*SEARCH, *SUPERNET, *race]) == 0


class Own:
    """Scenes as a caller's data set."""

    classes = CLASS_NAMES

    def __init__(self) -> None:
        self.drawn = draw_scenes(20)

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> tuple[Image.Image, torch.Tensor]:
        return Image.fromarray(self.drawn.pixels[index]), torch.from_numpy(self.drawn.masks[index]).long()


def test_a_callers_data_set_is_searched(tmp_path: Path) -> None:
    got = search_call("150MFLOPs", data=Own(), space="tiny-seg", floor=0.4, image_size=64, trials=2, steps=2, batch_size=4, workers=1,
                      halving_candidates=0, out=tmp_path / "run")  # fmt: skip
    assert got.best.score.metric == "mIoU"
    assert got.best.network()(torch.zeros(1, 3, 64, 96)).shape == (1, 5, 16, 24)


def test_zero_cost_scores_take_masks(found: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--data", str(found / "set"), "--batch-size", "4", "--image-size", "64", "--scores", "grad_norm", "naswot", "synflow"]
    assert score([str(found / "run/best.yaml"), *small]) == 0
    assert "grad_norm" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        ["search", *SEARCH, *SUPERNET, "--data", "scenes"], ["train", *SPACE, *SUPERNET, "--data", "scenes"],
        ["retrain", "topformer-t-seg", "--data", "scenes", "--recipe", "topformer-ade"],
    ],
    ids=lambda command: command[0],
)  # fmt: skip
def test_dry_runs_write_nothing(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main = {"search": search.main, "train": train.main, "retrain": retrain.main}[command[0]]
    assert main([*command[1:], "--dry-run"]) == 0
    assert "nothing was written" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


MISTAKES: dict[str, tuple[list[str], str]] = {
    "a space for classes": (
        ["search", "--space", "hybrid-32", "--budget", "20MFLOPs", "--data", "scenes"],
        "space: got hybrid-32, whose head is for classification, with images for segmentation, expected one with the head semantic_fpn or",
    ),
    "a space for masks": (
        ["search", *SPACE, *BUDGET, "--data", "digits"],
        "space: got tiny-seg, whose head is for segmentation, with images for classification, expected one with the head norm_pool_head",
    ),
    "a network for classes": (["retrain", "davit-t", "--data", "scenes"], "architecture: got davit-t, whose head is for classification"),
    "the wrong task": (["search", *SPACE, *BUDGET, "--data", "digits", "--task", "segmentation"], "got images for classification"),
    "an unknown task": (["search", *SPACE, *BUDGET, "--data", "scenes", "--task", "depth"], "got images for segmentation, expected some"),
    "masks' options": (["search", *SPACE, *BUDGET, "--data", "digits", "--ignore-index", "0"], "ignore_index: has no effect on digits"),
    "names that are not there": (
        ["search", *SPACE, *BUDGET, "--data", "set", "--class-names", "none.txt"], "none.txt: cannot be read: No such file",
    ),
    "a recipe that mixes": (
        ["retrain", "topformer-t-seg", "--data", "scenes", "--recipe", "short"],
        "recipe: got mixup 0.2 and cutmix 1, expected none for segmentation, such as --recipe seg-short",
    ),
    "a recipe for masks": (
        ["retrain", "davit-t", "--data", "digits", "--recipe", "seg-short"], "recipe: scales: has no effect on images for classification",
    ),
    "a teacher": (["retrain", "topformer-t-seg", "--data", "scenes", "--teacher", "local-dir:x"], "teacher: got 'local-dir:"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_end_in_one_line(case: str, found: Path, monkeypatch: pytest.MonkeyPatch, mistaken: Mistaken) -> None:
    monkeypatch.chdir(found)
    (name, *arguments), expected = MISTAKES[case]
    assert expected in mistaken({"search": search.main, "retrain": retrain.main}[name], [*arguments, "--out", "new"])
    assert not (found / "new").exists()


def test_the_head_learns_faster_and_everything_decays_where_a_recipe_says_so() -> None:
    recipe = load_recipe("topformer-ade")
    assert (recipe.num_steps(99), recipe.num_warmup_steps(99)) == (160_000, 1500)
    network = build_network(load_space("tiny-seg").smallest())
    optimizer = make_optimizer(network, TrainConfig(10, lr=1e-3, weight_decay=0.01, head_lr=10, decay_all=True))
    of_head = {id(parameter) for name, parameter in network.named_parameters() if name.startswith("head.")}
    for group in optimizer.param_groups:
        assert {id(parameter) in of_head for parameter in group["params"]} == {group.get("lr_scale", 1) == 10}
        assert group["weight_decay"] == 0.01
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))
    apart = make_optimizer(network, TrainConfig(10, head_lr=10))
    assert {group["weight_decay"] for group in apart.param_groups} == {0.0, 0.05}
    plain = make_optimizer(network, TrainConfig(10, decay_all=True))
    assert {group["weight_decay"] for group in plain.param_groups} == {0.05}
