"""`nas.convert`: official files in, this package's files out; other files are refused in one line."""

import argparse
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nas.convert import main
from space import build_network, load_architecture, load_provenance
from tests.nas.small_official import SMALL, small_weights


@pytest.fixture(scope="module")
def davit_tiny() -> nn.Module:
    """timm's, with no parameter left at zero or one."""
    torch.manual_seed(11)
    model = timm.create_model("davit_tiny", pretrained=False).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def converted(davit_tiny: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that `nas.convert` writes for it."""
    folder = tmp_path_factory.mktemp("davit")
    save_file(davit_tiny.state_dict(), folder / "official.safetensors")
    assert run("davit-t", folder / "official.safetensors", folder / "ours") == 0
    return folder / "ours"


def run(parent: str, weights: Path, output: Path) -> int:
    return main(["--parent", parent, "--weights", str(weights), "--output", str(output)])


@pytest.mark.parametrize("size", [(224, 224), (256, 256), (224, 288)], ids=str)
def test_timms_davit_gives_the_same_logits(davit_tiny: nn.Module, converted: Path, size: tuple[int, int]) -> None:
    network = build_network(load_architecture(converted / "architecture.yaml")).eval()
    network.load_state_dict(load_file(converted / "weights.safetensors"))
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected, got = davit_tiny(image), network(image)
    assert expected.std() > 0.1
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_the_files_say_what_they_are(converted: Path) -> None:
    assert load_architecture(converted / "architecture.yaml") == load_architecture("davit-t")
    assert load_provenance(converted / "architecture.yaml") == {"parent": "davit-t", "weights": "official.safetensors"}
    assert sorted(path.name for path in converted.iterdir()) == ["architecture.yaml", "weights.safetensors"]


@pytest.fixture
def small(tmp_path: Path) -> str:
    """An architecture of the DaViT family, with other classes."""
    (tmp_path / "small.yaml").write_text(SMALL)
    return str(tmp_path / "small.yaml")


def prefixed(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in weights.items()}


@pytest.mark.filterwarnings("ignore:weights. head sizes are not in a checkpoint")
@pytest.mark.parametrize("wrap", [
    lambda w: w,
    lambda w: {"model": w, "args": argparse.Namespace(lr=1e-3), "epoch": 300},
    lambda w: {"state_dict": {key: torch.zeros_like(value) for key, value in w.items()}, "state_dict_ema": w},
    lambda w: {"state_dict": prefixed("module.", w)},
    lambda w: prefixed("_orig_mod.", w),
    lambda w: {"model": prefixed("module._orig_mod.", w)},
    lambda w: {"state_dict": prefixed("model.", w), "pytorch-lightning_version": "2.5", "hyper_parameters": {"lr": 1e-3}},
    lambda w: {"state_dict": prefixed("model.backbone.", w)},
    lambda w: {"net": w, "acc": 71.2, "epoch": 3},
    lambda w: {"model": {"state_dict": w}},
], ids=["bare", "model", "state_dict_ema", "module", "compiled", "compiled in parallel", "lightning", "backbone", "net", "nested"])
def test_usual_wrappers_and_prefixes_are_removed(small: str, tmp_path: Path, wrap: Callable, capsys: pytest.CaptureFixture) -> None:
    weights = small_weights()
    torch.save(wrap(weights), tmp_path / "official.pth")
    assert run(small, tmp_path / "official.pth", tmp_path / "out" / "deep") == 0
    assert capsys.readouterr().out == f"placed 24 official tensors as 28 of small's in {tmp_path / 'out' / 'deep'}\n"
    filled = load_file(tmp_path / "out" / "deep" / "weights.safetensors")
    assert torch.equal(filled["stages.0.blocks.0.mixer.operator.k.weight"], weights["main_blocks.0.0.0.attn.qkv.weight"][32:64])


class Hostile:
    """Runs a command when an ordinary unpickler meets it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.marker}",)


def test_a_hostile_pickle_is_refused_unexecuted(small: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    marker = tmp_path / "ran"
    torch.save({"model": small_weights(), "extra": Hostile(marker)}, tmp_path / "zip.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Hostile(marker), protocol=2))
    (tmp_path / "newer.pth").write_bytes(pickle.dumps(Hostile(marker), protocol=4))
    calls = "got a pickle that calls for posix.system, expected a file of nothing but tensors and plain values"
    damaged = "got a damaged pickle, or one that holds code, expected a file of nothing but tensors and plain values"
    for name, message in (("zip.pth", calls), ("bare.pth", calls), ("newer.pth", damaged)):
        assert run(small, tmp_path / name, tmp_path / "out") == 2
        assert capsys.readouterr().err == f"error: {tmp_path / name}: {message}\n"
    assert not marker.exists()
    assert not (tmp_path / "out").exists()


def test_files_that_expand_are_refused(small: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    weights = small_weights()
    weights["head.weight"] = torch.zeros(1, 1).expand(10**6, 10**6)
    torch.save(weights, tmp_path / "view.pth")
    torch.save(weights | {"head.weight": torch.empty(10**6, 10**6, device="meta")}, tmp_path / "hollow.pth")
    torch.save(weights | {"head.weight": torch.zeros(10**6)}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    said = {"view": "got tensors of 4e+12 bytes", "hollow": "got tensors that are sparse", "packed": "got a compressed file"}
    for name, message in said.items():
        assert run(small, tmp_path / f"{name}.pth", tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {tmp_path / name}.pth: {message}")
        assert error.count("\n") == 1


@pytest.mark.parametrize(("name", "content", "message"), [
    ("weights.pth", b"", "cannot be read as weights: "),
    ("weights.pth", b"PK\x03\x04 half a zip", "cannot be read as weights: "),
    ("weights.safetensors", b"\xff" * 64, "cannot be read as safetensors: "),
    ("weights.pth", [1, 2], "got no tensors by name, expected a state dict, or one under state_dict_ema, model_ema, state_dict, model"),
    ("weights.pth", {"model": {"epoch": 3}}, "got no tensors by name, expected"),
    ("weights.pth", {"fc.weight": torch.ones(2)}, "weights: got the keys fc.weight, ..., expected those of Container, UniFormer"),
    ("missing.pth", None, "got no file, expected one of weights"),
])
def test_other_files_than_official_ones_are_refused(
    small: str, tmp_path: Path, name: str, content: object, message: str, capsys: pytest.CaptureFixture
) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        torch.save(content, tmp_path / name)
    assert run(small, tmp_path / name, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / name}: {message}")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_weights_of_another_size_and_unknown_parents_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.save(small_weights(), tmp_path / "small.pth")
    assert run("davit-t", tmp_path / "small.pth", tmp_path / "out") == 2
    assert f"error: {tmp_path / 'small.pth'}: weights: got DaViT's, which do not fit davit-t: " in capsys.readouterr().err
    assert run("davit-xxl", tmp_path / "small.pth", tmp_path / "out") == 2
    assert capsys.readouterr().err.startswith("error: architecture: got 'davit-xxl', expected one of container, ")


def test_an_output_that_is_a_file_is_refused(small: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.save(small_weights(), tmp_path / "small.pth")
    assert run(small, tmp_path / "small.pth", tmp_path / "small.pth") == 2
    assert capsys.readouterr().err == f"error: --output: got the file {tmp_path / 'small.pth'}, expected a directory\n"
