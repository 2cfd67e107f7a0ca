"""What is exported gives the network's logits, in a stranger's hands too; what cannot be exported is refused in one line."""

import importlib
import json
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from nas.export import export as export_here
from nas.export.__main__ import main
from nas.export.by_name import FORMATS, format_named
from nas.export.format import ExportError, differences
from nas.export.model_card import model_card
from nas.runs.records.metadata import BEST_EPOCH, LAST, MeasuredFigure, read_metadata
from nas.runs.records.role import Role
from space import BlockSpec, build_network, dump_architecture, load_architecture, load_provenance
from space.errors import UserError
from space.kinds import DOWNSAMPLERS, FFNS, MIXERS, NORMS
from tests.nas.conftest import Mistaken
from tests.nas.exports import SIDE, SMALL, exported_of, metadata_of, of_blocks, round_trip, with_metadata
from tests.space.examples import randomised

pytestmark = pytest.mark.usefixtures("_skip_without_packages_of_format")


def test_another_network_is_noticed(tmp_path: Path) -> None:
    form = format_named("timm")
    form.write(exported_of(SMALL), tmp_path)
    torch.manual_seed(1)
    other = with_metadata(build_network(SMALL).eval())
    with pytest.raises(ExportError, match=r"1x3x32x32 images: got logits .* off the network's, expected"):
        list(differences(form, other, tmp_path))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last weights of a retraining of `small.yaml`, which lies beside them with those of the best epoch."""
    folder = tmp_path_factory.mktemp("weights")
    (folder / "small.yaml").write_text(dump_architecture(SMALL, {"role": "winner", "study": "of-spring", "trial": 17, "accuracy": 0.33}))
    trained = replace(metadata_of(SMALL, SIDE), role=Role.WINNER, steps=100, seed=3)
    tested, validated = MeasuredFigure(0.875, (0.8, 0.9), 800), MeasuredFigure(0.9125, (0.9, 0.95), 200)
    last, best = replace(trained, weights=LAST, test=tested), replace(trained, weights=BEST_EPOCH, epoch=7, validation=validated)
    for name, metadata in (("weights", last), ("best", best)):
        save_file(randomised(build_network(SMALL)).state_dict(), folder / f"{name}.safetensors", metadata.header)
    return folder / "weights.safetensors"


def export(weights: Path, name: str, output: Path, *options: str) -> int:
    architecture = str(weights.with_name("small.yaml"))
    return main([architecture, "--weights", str(weights), "--format", name, "--output", str(output), *options])


def run_alone(script: str, folder: Path, *options: str) -> None:
    """Run a script in a folder, as a process of its own."""
    run = subprocess.run([sys.executable, *options, "-c", script], cwd=folder, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]


@pytest.fixture(scope="module")
def sample(weights: Path) -> Path:
    """A folder with images and the network's logits of them."""
    folder = weights.parent / "sample"
    folder.mkdir()
    network = randomised(build_network(SMALL)).eval()
    images = torch.randn(2, 3, 40, 48)
    with torch.no_grad():
        np.save(folder / "images.npy", images.numpy())
        np.save(folder / "logits.npy", network(images).numpy())
    return folder


def test_a_stranger_uses_the_timm_folder(weights: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"class {number}" for number in range(10)))
    assert export(weights, "timm", tmp_path / "out", "--labels", str(labels), "--image-size", "48") == 0
    name = f"local-dir:{tmp_path / 'out'}"
    network = timm.create_model(name, pretrained=True).eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(network(images), randomised(build_network(SMALL)).eval()(images))
    assert network.pretrained_cfg["input_size"] == (3, 48, 48)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["label_names"][9] == "class 9"

    maps = timm.create_model(name, pretrained=True, features_only=True)(images)
    assert [map_BCHW.shape[1] for map_BCHW in maps] == [stage.width for stage in SMALL.stages]
    other = timm.create_model(name, pretrained=True, num_classes=7).eval()
    assert other(images).shape == (2, 7)
    assert torch.equal(other.stem.conv1.weight, network.stem.conv1.weight)


def test_a_stranger_runs_the_single_file_with_torch_alone(weights: Path, sample: Path, tmp_path: Path) -> None:
    assert export(weights, "module", tmp_path / "out", "--fuse") == 0
    script = f"""
import sys
for package in ("space", "proxies", "supernet", "nas", "timm", "pydantic", "safetensors", "torchvision", "onnx"):
    sys.modules[package] = None  # importing it fails from here on
sys.path.insert(0, ".")
import numpy, torch
from network import load
with torch.no_grad():
    logits = load()(torch.from_numpy(numpy.load("{sample}/images.npy")))
torch.testing.assert_close(logits, torch.from_numpy(numpy.load("{sample}/logits.npy")), rtol=1e-4, atol=1e-4)
"""
    run_alone(script, tmp_path / "out", "-I")


def test_a_stranger_runs_the_graph_in_onnxruntime(weights: Path, sample: Path, tmp_path: Path) -> None:
    assert export(weights, "onnx", tmp_path / "out") == 0
    script = f"""
import sys
for package in ("space", "nas", "timm", "torch"):
    sys.modules[package] = None
import numpy, onnxruntime
session = onnxruntime.InferenceSession("network.onnx")
images, expected = (numpy.load(f"{sample}/{{name}}.npy") for name in ("images", "logits"))
for start in (0, 1):
    (logits,) = session.run(["logits"], {{"images": images[start:]}})
    numpy.testing.assert_allclose(logits, expected[start:], rtol=1e-4, atol=1e-4)
"""
    run_alone(script, tmp_path / "out", "-I")


@pytest.mark.parametrize("name", ["openvino"])
def test_a_stranger_runs_the_model_in_openvino(name: str, weights: Path, sample: Path, tmp_path: Path) -> None:
    assert export(weights, name, tmp_path / "out") == 0
    script = f"""
import sys
for package in ("space", "nas", "timm", "torch", "onnx"):
    sys.modules[package] = None
import numpy, openvino
network = openvino.Core().compile_model("network.xml", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})
images, expected = (numpy.load(f"{sample}/{{name}}.npy") for name in ("images", "logits"))
for start in (0, 1):
    numpy.testing.assert_allclose(network(images[start:])["logits"], expected[start:], rtol=1e-4, atol=1e-4)
"""
    run_alone(script, tmp_path / "out", "-I")


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_the_code_in_a_graphs_readme_classifies_an_image(name: str, weights: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"class {number}" for number in range(10)))
    assert export(weights, name, tmp_path / "out", "--labels", str(labels)) == 0
    Image.new("RGB", (80, 70), "teal").save(tmp_path / "out" / "image.jpg")
    code = (tmp_path / "out" / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    run_alone(code + "assert logits.shape == (1, 10)\nassert images.shape == (1, 3, 64, 64)", tmp_path / "out", "-I")


@pytest.mark.parametrize(("form", "package", "extra"), [("onnx", "onnxruntime", "ort"), ("openvino", "openvino", "openvino")])
def test_an_absent_package_is_one_line(
    form: str, package: str, extra: str, weights: Path, tmp_path: Path, mistaken: Mistaken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.cli.packages.find_spec", lambda asked: None if asked == package else object())
    arguments = [str(weights.with_name("small.yaml")), "--weights", str(weights), "--format", form, "--output", str(tmp_path / "out")]
    said = f"--format {form}: got no {package}, expected it installed: pip install 'token-mixer-nas[{extra}]'"
    assert said in mistaken(main, arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_tells_its_story(weights: Path, tmp_path: Path) -> None:
    assert export(weights, "timm", tmp_path / "out") == 0
    card = (tmp_path / "out" / "README.md").read_text()
    for printed in ("license: apache-2.0", "library_name: timm", "87.50%", "of-spring", "local-dir:", SMALL.fingerprint, "class 9"):
        assert printed in card
    assert "score in the search, accuracy: 0.33" in card
    assert load_architecture(tmp_path / "out" / "architecture.yaml") == SMALL
    assert (tmp_path / "out" / "architecture.svg").exists()


def test_the_hub_finds_the_task_in_a_card_and_its_files_beside_it(weights: Path, tmp_path: Path) -> None:
    assert export(weights, "timm", tmp_path / "out") == 0
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.to_dict() == {
        "license": "apache-2.0", "library_name": "timm", "pipeline_tag": "image-classification",
        "tags": ["image-classification", "token-mixer-nas"],
    }  # fmt: skip
    assert all((tmp_path / "out" / file).exists() for file in re.findall(r"!\[.*?\]\((.*?)\)", card.text))
    dense = exported_of(load_architecture("topformer-t-seg"))
    assert ModelCard(model_card(format_named("module"), dense, {}, None)).data.pipeline_tag == "image-segmentation"


def test_timm_alone_names_what_the_readme_names(weights: Path, tmp_path: Path) -> None:
    assert export(weights, "timm", tmp_path / "out") == 0
    code = f"import timm; timm.create_model('local-dir:{tmp_path / 'out'}')"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120).stderr.splitlines()[-1]
    assert told == "RuntimeError: Unknown model (token_mixer)"
    assert told.partition(": ")[2] in (tmp_path / "out" / "README.md").read_text()


def test_a_figure_belongs_to_its_weights(weights: Path, tmp_path: Path) -> None:
    assert export(weights.with_name("best.safetensors"), "timm", tmp_path / "best") == 0
    card = (tmp_path / "best" / "README.md").read_text()
    assert "validation accuracy of these weights: 91.25% of 200 images at 64 px" in card
    assert "weights: best epoch, number 7" in card
    assert "test accuracy" not in card
    # Accuracies at another size were not measured.
    assert export(weights, "timm", tmp_path / "larger", "--image-size", "96") == 0
    assert "accuracy of these weights" not in (tmp_path / "larger" / "README.md").read_text()


def test_a_graph_is_made_for_the_size_that_the_network_was_trained_at(tmp_path: Path) -> None:
    merging = of_blocks(BlockSpec(mixer=MIXERS("ssa", sr_ratio=2), ffn=FFNS("mlp", ratio=1)))
    exported = with_metadata(build_network(merging).eval(), image_size=42)
    form = format_named("torch-export")
    form.write(exported, tmp_path)
    shapes = [shape for shape, _ in differences(form, exported, tmp_path)]
    assert shapes[::3] == ["1x3x42x42", "1x3x46x50", "1x3x54x42"]
    with pytest.raises(Exception, match=r"4"):
        form.load(tmp_path)(torch.zeros(1, 3, 43, 42))


@pytest.mark.parametrize("name", ["torch-export", "onnx"])
def test_what_ran_on_a_map_smaller_than_its_kernels_is_exported_at_that_size_and_larger_ones(name: str, tmp_path: Path) -> None:
    merging = of_blocks(BlockSpec(mixer=MIXERS("ssa", sr_ratio=4), ffn=FFNS("mlp", ratio=1)))
    (first,) = merging.stages
    later = first.replace(downsample=DOWNSAMPLERS("conv_downsample"))
    architecture = merging.replace(image_size=64, stages=(first, later, later))
    exported = with_metadata(build_network(architecture).eval(), image_size=32)
    form = format_named(name)
    form.write(exported, tmp_path)
    assert len([*differences(form, exported, tmp_path)]) == 9


@pytest.mark.parametrize("name", FORMATS)
def test_the_metadata_travel_in_every_format(name: str, weights: Path, tmp_path: Path) -> None:
    assert export(weights, name, tmp_path / "out") == 0
    expected = read_metadata(weights)
    assert expected is not None
    assert expected.preprocessing.image_size == SIDE
    assert load_provenance(tmp_path / "out" / "architecture.yaml")["trained"] == expected.document
    assert metadata_in(name, tmp_path / "out") == expected.document


def metadata_in(name: str, folder: Path) -> object:
    """What an export says of itself, read as a stranger would."""
    if name == "timm":
        config = json.loads((folder / "config.json").read_text())
        assert config["label_names"] == config["metadata"]["class_names"]
        assert config["pretrained_cfg"]["input_size"] == [3, SIDE, SIDE]
        assert config["pretrained_cfg"]["crop_pct"] == config["metadata"]["preprocessing"]["crop_pct"]
        found = read_metadata(folder / "model.safetensors")
        assert found is not None
        assert found.document == config["metadata"]
        return config["metadata"]
    if name == "onnx":
        session = onnxruntime.InferenceSession(folder / "network.onnx")
        return {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    if name == "openvino":
        import openvino

        return json.loads(openvino.Core().read_model(folder / "network.xml").get_rt_info("token_mixer_nas").astype(str))
    if name == "torch-export":
        extra = {"metadata.json": ""}
        torch.export.load(folder / "network.pt2", extra_files=extra)
        return json.loads(extra["metadata.json"])
    return runpy.run_path(str(folder / "network.py"))["METADATA"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_dry_run_writes_nothing(name: str, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(weights, name, tmp_path / "out", "--dry-run") == 0
    said = capsys.readouterr().out
    assert all(file in said for file in format_named(name).files)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_failure(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistaken: Mistaken) -> None:
    monkeypatch.setattr("nas.export.format.TOLERANCE", -1.0)
    arguments = [str(weights.with_name("small.yaml")), "--weights", str(weights), "--format", "timm", "--output", str(tmp_path / "out")]
    assert "off the network's" in mistaken(main, arguments)
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_one_line(weights: Path, tmp_path: Path, mistaken: Mistaken) -> None:
    small = str(weights.with_name("small.yaml"))

    def complaint(*arguments: str) -> str:
        return mistaken(main, [*arguments, "--output", str(tmp_path / "out")])

    given_weights = ("--weights", str(weights))
    assert "--weights: expected with every format but yaml" in complaint(small, "--format", "timm")
    assert "--format: got 'tflite', expected one of yaml, timm" in complaint(small, *given_weights, "--format", "tflite")
    assert "a fused network is for inference alone" in complaint(small, *given_weights, "--format", "timm", "--fuse")
    assert "got no file" in complaint(small, "--weights", str(tmp_path / "none.safetensors"), "--format", "timm")
    assert "got shape (10,), expected (1000,)" in complaint("topformer-t", *given_weights, "--format", "timm")
    assert "expected the file to write" in mistaken(main, [small])
    assert "got both or none" in complaint("--format", "timm", *given_weights)
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    assert "got 2 names, expected 10" in complaint(small, *given_weights, "--format", "timm", "--labels", str(tmp_path / "labels.txt"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").touch()
    assert "expected a new or an empty folder" in complaint(small, *given_weights, "--format", "timm")


class Held:
    """What a search or a retraining gives back, as far as an export asks."""

    architecture = SMALL
    weights_file: Path | None = None

    def network(self) -> nn.Module:
        return randomised(build_network(SMALL)).eval()


def test_a_result_is_exported_with_its_weights(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = Held()
    names = [f"class {number}" for number in range(10)]
    files = export_here(held, format="timm", out=tmp_path / "network", labels=names)
    held.weights_file = weights
    export_here(held, format="timm", out=tmp_path / "file")
    assert capsys.readouterr().out == ""
    assert export(weights, "timm", tmp_path / "named") == 0
    assert sorted(files) == sorted((tmp_path / "network").iterdir())
    first, *others = (load_file(tmp_path / out / "model.safetensors") for out in ("network", "file", "named"))
    assert all(torch.equal(tensor, other[name]) for other in others for name, tensor in first.items())
    assert json.loads((tmp_path / "network" / "config.json").read_text())["label_names"] == names
    assert "87.50%" in (tmp_path / "file" / "README.md").read_text()
    (file,) = export_here(SMALL, out=str(tmp_path / "best.yaml"), progress=True)
    assert load_architecture(file).fingerprint == SMALL.fingerprint
    assert f"wrote {tmp_path}/best.yaml" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"architecture": SMALL, "format": "timm"}, "weights: expected with every format but yaml, got format=timm"),
        ({"architecture": SMALL}, "out: got none, expected the file to write with format=yaml"),
        ({"architecture": SMALL, "format": "tflite"}, "format: got 'tflite', expected one of yaml, timm"),
        ({"architecture": Held(), "format": "timm", "labels": ["a"]}, "labels: got 1 names, expected 10"),
        ({"architecture": Held(), "format": "timm", "labels": 3}, "labels: got 3, expected a text file, or the names"),
        ({"architecture": 3, "out": "x.yaml"}, "architecture: got int, expected a YAML file"),
        ({"out": "x.yaml"}, "architecture: got both or none"),
        ({"architecture": SMALL, "out": "x.yaml", "dry_run": True}, "dry_run: got True, expected it on the command line"),
    ],
)
def test_mistakes_of_a_python_caller_are_one_line(
    given: dict[str, object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        export_here(**given)  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_operator_that_needs_another_package_has_no_single_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needy_mixer.py").write_text(
        "from timm.layers import DropPath\nfrom torch import nn\n\n\n"
        "class Needy(nn.Sequential):\n    def __init__(self, dim: int) -> None:\n        super().__init__(DropPath(0.0))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    needy = importlib.import_module("needy_mixer").Needy
    MIXERS.register("needy", norm=NORMS("none"))(needy)
    try:
        with pytest.raises(ExportError, match=r"needy_mixer: got a need of timm\.layers"):
            format_named("module").write(exported_of(of_blocks(BlockSpec(mixer="needy", ffn=FFNS("mlp", ratio=1)))), tmp_path)
    finally:
        MIXERS.unregister("needy")


def test_definitions_of_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from torch import Tensor, nn\n\n\n{name} = {value}\n\n\nclass {type}(nn.Module):\n    def __init__(self, dim: int) -> None:\n"
    text += "        super().__init__()\n\n    def forward(self, x: Tensor) -> Tensor:\n        return x * {name}\n"
    monkeypatch.syspath_prepend(tmp_path)
    made: list[type[nn.Module]] = []
    for index, kind in enumerate(("One", "Two")):
        (tmp_path / f"mixer_{kind}.py").write_text(text.format(name="FACTOR", value=index + 2, type=kind))
        made.append(getattr(importlib.import_module(f"mixer_{kind}"), kind))
        MIXERS.register(kind, norm=NORMS("none"))(made[-1])
    try:
        blocks = [BlockSpec(mixer=kind, ffn=FFNS("mlp", ratio=1)) for kind in ("One", "Two")]
        round_trip(format_named("module"), exported_of(of_blocks(*blocks)), tmp_path / "out")
    finally:
        MIXERS.unregister("One")
        MIXERS.unregister("Two")
