"""An INT8 export is calibrated on held-out images, judged beside the network, and there as a whole or not at all."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.torch import save_file

from nas.export import int8
from nas.export.__main__ import main
from nas.runs.directory import open_run
from nas.runs.records.metadata import read_metadata
from nas.train.supernet_run import search_splits
from proxies.latency.int8 import CONVOLUTIONS, LINEAR
from space import build_network, dump_architecture
from space.architecture import Architecture
from supernet.data.images import open_images
from tests.nas.conftest import Mistaken
from tests.nas.exports import SMALL, metadata_of
from tests.proxies.test_latency_targets import DENSE
from tests.space.examples import randomised

pytestmark = pytest.mark.timeout(600)
SPLITS = {name: search_splits(open_images(name), 0) for name in ("digits", "scenes")}
SEGMENTING = DENSE.smallest()


def retrained(folder: Path, architecture: Architecture, data: str, image_size: int) -> Path:
    """A folder as a retraining on some data leaves it."""
    images = open_images(data)
    architecture = architecture.replace(num_classes=images.num_classes, in_chans=images.in_chans)
    with open_run(folder, {"data": data}):
        (folder / "architecture.yaml").write_text(dump_architecture(architecture))
        weights = randomised(build_network(architecture)).state_dict()
        save_file(weights, folder / "weights.safetensors", metadata_of(architecture, image_size).header)
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """An INT8 export of a classifier, and what was printed."""
    folder = tmp_path_factory.mktemp("int8")
    run = retrained(folder / "run", SMALL, "digits", 32)
    with pytest.MonkeyPatch.context() as patch:
        # Random weights are no better than chance, whatever quantising does to them.
        patch.setattr(int8, "MOST_LOST", 1.0)
        patch.setattr(int8, "TRIAL_ROUNDS", 1)
        assert export(run, folder / "out") == 0
    return folder / "out", (folder / "out" / "README.md").read_text()


def export(run: Path, out: Path, *options: str, form: str = "onnx") -> int:
    return main([str(run), "--format", form, "--int8", "--output", str(out), *options])


def test_both_graphs_are_there_and_compared(exported: tuple[Path, str]) -> None:
    folder, card = exported
    assert {file.name for file in folder.iterdir()} == {
        "README.md", "architecture.svg", "architecture.yaml", "network.onnx", "network-int8.onnx"
    }  # fmt: skip
    assert (folder / "network-int8.onnx").stat().st_size < 0.5 * (folder / "network.onnx").stat().st_size
    splits = SPLITS["digits"]
    images = f"accuracy on {len(splits.search)} search images", f"{len(splits.calibration)} calibration images of digits"
    for said in (*images, "log-likelihood", "latency on ort:cpu:1t:bs1:fp32", "size"):
        assert said in card
    assert re.search(rf"- INT8: .*{LINEAR}, {CONVOLUTIONS}", card)
    assert re.search(r"- in floating point: \S.*, in INT8 not surely 5% faster: the graph takes .* times as long", card)


def test_the_int8_graph_takes_any_number_of_images_and_sizes_and_has_the_metadata(exported: tuple[Path, str]) -> None:
    folder, _ = exported
    both = [onnxruntime.InferenceSession(folder / name) for name in ("network.onnx", "network-int8.onnx")]
    for shape in ((1, 3, 32, 32), (7, 3, 32, 32), (2, 3, 48, 40)):
        images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        (expected,), (found,) = (session.run(["logits"], {"images": images}) for session in both)
        assert np.asarray(found).shape == np.asarray(expected).shape
        assert np.abs(np.asarray(found) - np.asarray(expected)).max() > 0
    first, second = (session.get_modelmeta().custom_metadata_map for session in both)
    assert first == second
    assert json.loads(second["preprocessing"])["image_size"] == 32
    assert {node.op_type for node in onnx.load(folder / "network-int8.onnx").graph.node} >= {"QuantizeLinear", "DequantizeLinear"}


def test_networks_that_label_pixels_are_quantised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "MOST_LOST", 10.0)
    monkeypatch.setattr(int8, "TRIAL_ROUNDS", 1)
    assert export(retrained(tmp_path / "run", SEGMENTING, "scenes", 96), tmp_path / "out") == 0
    assert f"mIoU on {len(SPLITS['scenes'].search)} search images" in capsys.readouterr().out


def test_nothing_is_left_where_every_kind_costs_accuracy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistaken: Mistaken) -> None:
    run = retrained(tmp_path / "run", SMALL, "digits", 32)
    monkeypatch.setattr(int8, "MOST_LOST", -1.0)
    monkeypatch.setattr(int8, "LEAST_GAIN", 1.0)
    assert "int8: got no kind of nodes that can be INT8" in mistaken(main, arguments(run, tmp_path / "out"))
    assert list(tmp_path.iterdir()) == [run]


def arguments(run: Path, out: Path, *options: str, form: str = "onnx") -> Sequence[str]:
    return [str(run), "--format", form, "--int8", "--output", str(out), *options]


def test_a_dry_run_tells_of_int8_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As wide as it is, so that no sentence is wrapped.
    monkeypatch.setattr("nas.cli.console.FILE_WIDTH", 400)
    run = retrained(tmp_path / "run", SMALL, "digits", 32)
    assert export(run, tmp_path / "out", "--dry-run") == 0
    said = " ".join(capsys.readouterr().out.split())
    calibration, search = len(SPLITS["digits"].calibration), len(SPLITS["digits"].search)
    assert f"in INT8 as well, calibrated on {calibration} images and judged on {search}" in said
    assert "network-int8.onnx" in said
    assert list(tmp_path.iterdir()) == [run]


def test_mistakes_are_one_line(tmp_path: Path, mistaken: Mistaken) -> None:
    run, out = retrained(tmp_path / "run", SMALL, "digits", 32), tmp_path / "out"
    yaml, weights = str(run / "architecture.yaml"), ["--weights", str(run / "weights.safetensors")]
    assert "--int8: got --format timm, expected --format onnx" in mistaken(main, arguments(run, out, form="timm"))
    assert "--data: missing, expected the images to calibrate" in mistaken(main, [*arguments(Path(yaml), out), *weights])
    assert "no such file or folder" in mistaken(main, arguments(run, out, "--data", str(tmp_path / "none")))
    assert "--data: has no effect without --int8" in mistaken(main, [str(run), "--format", "onnx", "--data", "digits"])
    assert "--ignore-index: has no effect without --int8" in mistaken(main, [str(run), "--format", "onnx", "--ignore-index", "3"])
    assert "whose head is for classification, with images for segmentation" in mistaken(main, arguments(run, out, "--data", "scenes"))
    assert f"got the folder {tmp_path}, expected a file, or a retraining's folder" in mistaken(main, arguments(tmp_path, out))
    assert not out.exists()
    assert read_metadata(run / "weights.safetensors") is not None


def test_data_of_other_classes_are_refused(tmp_path: Path, mistaken: Mistaken) -> None:
    run = retrained(tmp_path / "run", SMALL, "digits", 32)
    assert "data: got 16 classes in synthetic, expected 10" in mistaken(main, arguments(run, tmp_path / "out", "--data", "synthetic"))
