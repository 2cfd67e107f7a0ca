"""`nas.retrain --from`: a training that begins with trained weights, and its recipes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nas.retrain import retrain
from nas.retrain.__main__ import main
from nas.retrain.layer_decay import layer_lr_scales
from nas.retrain.recipe import load_recipe
from space import build_network, load_architecture
from space.architecture import Architecture
from space.files import dump_architecture, load_space
from tests.nas.conftest import Mistaken
from tests.pictures import write_pictures

SPACE = load_space("hybrid-32")
TINY = SPACE.smallest().replace(name="tiny", num_classes=5)
WIDE = SPACE.decide(lambda name, options: options[-1] if name.endswith("width") else options[0]).replace(name="wide", num_classes=3)
NEXT_TO_NOTHING = ["--lr", "1e-12", "--epochs", "1", "--batch-size", "8"]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with pictures of three classes, two architectures, and weights of the narrow one for five classes."""
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "set" / "train", count=8)
    for architecture in (TINY, WIDE):
        (tmp_path / f"{architecture.name}.yaml").write_text(dump_architecture(architecture))
    save_file(state(TINY), tmp_path / "five.safetensors")
    return tmp_path


def state(architecture: Architecture) -> dict[str, Tensor]:
    """Of a network with statistics that training could not reach in an epoch."""
    torch.manual_seed(1)
    network = build_network(architecture)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.fill_(1000.0)
    return network.state_dict()


@pytest.mark.parametrize("origin", ["five.safetensors", "tiny.yaml=five.safetensors"])
def test_a_network_goes_on_from_its_own_weights_but_for_a_head_of_other_classes(
    work: Path, origin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tiny.yaml", "--data", "set", "--from", origin, *NEXT_TO_NOTHING, "--out", "run"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "recipe finetune-short: 1 epochs" in shown
    num = len(list(build_network(TINY).parameters()))
    assert "its head is for other classes" in shown or f"tiny: filled {num - 2} of {num} tensors" in shown
    begun, after = load_file(work / "five.safetensors"), load_file(work / "run" / "weights.safetensors")
    for name, tensor in after.items():
        if name.endswith("running_mean"):
            assert tensor.min() > 1, "the statistics were taken over, too"
        elif tensor.is_floating_point() and not name.endswith("running_var") and not name.startswith("head.fc."):
            torch.testing.assert_close(tensor, begun[name])
    assert after["head.fc.weight"].shape[0] == 3


def test_another_architecture_takes_the_slices_that_fit(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    retrained = retrain("wide.yaml", data="set", from_="tiny.yaml=five.safetensors", lr=1e-12, epochs=1, batch_size=8, out="run")
    begun, after = load_file(work / "five.safetensors"), load_file(retrained.weights_file)
    name = "stages.0.blocks.0.mixer.operator.proj.weight"
    narrow, wide = begun[name], after[name]
    assert wide.shape[0] > narrow.shape[0]
    torch.testing.assert_close(wide[: narrow.shape[0], : narrow.shape[1]], narrow)
    assert capsys.readouterr().out == ""


def test_a_network_begins_with_published_weights_in_a_folder(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "weights").mkdir()
    published = load_architecture("topformer-t")
    save_file(build_network(published).state_dict(), work / "weights" / "topformer-t.safetensors")
    argv = ["topformer-t", "--data", "set", "--from", "topformer-t", "--weights-folder", "weights", "--dry-run"]
    assert main(argv) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"topformer-t: {work / 'weights' / 'topformer-t.safetensors'}" in shown
    assert "topformer-t: filled " in shown
    assert not (work / "runs").exists()


def test_weights_that_cannot_be_are_refused_before_a_directory_is_made(work: Path, mistaken: Mistaken) -> None:
    argv = ["wide.yaml", "--data", "set", "--out", "run"]
    for origin, complaint in (
        ("none.safetensors", "none.safetensors: got no file"),
        ("supernet", "wide.safetensors: got no file"),
        ("tiny.yaml=none.safetensors", "none.safetensors: got no file"),
        ("topformer-t", "topformer-t: its authors offer the weights on no hub; fetch topformer-T-224-66.2.pth"),
        ("", "--from: got '', expected scratch, supernet"),
    ):
        assert complaint in mistaken(main, [*argv, "--from", origin])
    assert not (work / "run").exists()


def test_layers_train_the_slower_the_earlier_they_are() -> None:
    network = build_network(TINY)
    scales = layer_lr_scales(network, 0.5)
    assert scales.keys() == dict(network.named_parameters()).keys()
    assert {scale for name, scale in scales.items() if name.startswith("head.")} == {1.0}
    blocks = [f"stages.{i}.blocks.{j}." for i, stage in enumerate(TINY.stages) for j in range(len(stage.blocks))]
    of_blocks = [{scale for name, scale in scales.items() if name.startswith(block)} for block in blocks]
    assert of_blocks == [{0.5 ** (len(blocks) - index)} for index in range(len(blocks))]
    assert {scale for name, scale in scales.items() if name.startswith("stem.")} == {0.5 ** (len(blocks) + 1)}


@pytest.mark.parametrize("name", ["finetune-short", "finetune"])
def test_the_recipes_of_fine_tuning_keep_what_was_learnt(name: str) -> None:
    recipe, scratch = load_recipe(name), load_recipe("short")
    assert recipe.layer_decay < 1 == scratch.layer_decay
    assert recipe.lr / recipe.batch_size < scratch.lr / scratch.batch_size
    assert recipe.ema_decay
