"""Distillation: a teacher's inputs, its targets, and which teachers are refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import save_for_hf
from torch import Tensor, nn

from nas.retrain.__main__ import main
from nas.retrain.recipe import Recipe
from nas.retrain.teacher import Teacher, TeacherError, open_teacher
from space.errors import UserError
from space.files import dump_architecture, load_space
from supernet.data.images import open_images
from tests.pictures import write_pictures

NAME = "test_resnet"
RECIPE = "schema: recipe/1\nepochs: 1\nbatch_size: 6\nlr: 1.0e-3\nmin_area: 0.8\nvalidation: 0.2\n"
HOW = ("hard", 0.5, 3.0)


def make(num_classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(NAME, num_classes=num_classes)


class Seen(nn.Module):
    """Keeps its inputs, and returns the means of their channels."""

    def __init__(self, **pretrained_cfg: object) -> None:
        super().__init__()
        self.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.3, 0.4), "input_size": (3, 48, 48), **pretrained_cfg}
        self.images = torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        self.images = images
        return images.mean((2, 3))


def test_a_teacher_sees_images_as_it_was_trained_with() -> None:
    pixels = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
    network = Seen()
    Teacher(network, *HOW).logits((pixels - mean) / std)
    torch.testing.assert_close(network.images, (pixels - 0.5) / torch.tensor((0.2, 0.3, 0.4)).view(3, 1, 1))
    only = Seen(fixed_input_size=True)
    Teacher(only, *HOW).logits((pixels - mean) / std)
    assert only.images.shape == (2, 3, 48, 48)


def test_targets_are_classes_or_probabilities() -> None:
    images, logits = torch.randn(4, 3, 32, 32), torch.randn(4, 3, requires_grad=True)
    network = Seen(mean=IMAGENET_DEFAULT_MEAN, std=IMAGENET_DEFAULT_STD).train()
    hard, soft = (Teacher(network, kind, 0.4, 2.0).distil(logits, images) for kind in ("hard", "soft"))
    assert not network.training
    answers = network(images)
    assert hard.logits is soft.logits is logits
    assert (hard.weight, hard.temperature, soft.weight, soft.temperature) == (0.4, 1.0, 0.4, 2.0)
    assert hard.target.sum(1).tolist() == [1.0] * 4
    assert torch.equal(hard.target.argmax(1), answers.argmax(1))
    torch.testing.assert_close(soft.target, (answers / 2).softmax(1))
    assert not soft.target.requires_grad


@pytest.fixture
def teachers(tmp_path: Path) -> Path:
    """Folders and files of teachers of three and of five classes."""
    for num_classes in (3, 5):
        save_for_hf(make(num_classes), str(tmp_path / f"of{num_classes}"), safe_serialization=True)
        save_file(make(num_classes).state_dict(), tmp_path / f"of{num_classes}.safetensors")
    return tmp_path


def test_a_folder_and_a_file_are_the_same_teacher(teachers: Path) -> None:
    images = torch.randn(2, 3, 32, 32)
    folder = open_teacher(f"local-dir:{teachers / 'of3'}", None, *HOW, 3, 32)
    file = open_teacher(NAME, str(teachers / "of3.safetensors"), *HOW, 3, 32)
    assert torch.equal(folder.logits(images), file.logits(images))


def test_teachers_that_cannot_teach_are_refused(teachers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (teachers / "pickled").mkdir()
    (teachers / "pickled" / "config.json").write_text(json.dumps({"architecture": NAME, "num_classes": 3}))
    (teachers / "pickled" / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    (teachers / "odd").mkdir()
    (teachers / "odd" / "config.json").write_text("[]")
    save_file({"a": torch.zeros(1)}, teachers / "odd" / "model.safetensors")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name, weights, said in (
        (NAME, None, "without weights, expected --teacher-weights, local-dir:FOLDER or hf-hub:OWNER/NAME"),
        ("no_such_network", str(teachers / "of3.safetensors"), "teacher: got 'no_such_network', expected a network that timm can make"),
        (NAME, str(teachers / "none.safetensors"), "none.safetensors: got no file"),
        (NAME, str(teachers / "of3.pth"), "expected a .safetensors file"),
        (NAME, str(teachers / "of5.safetensors"), "not those of test_resnet for 3 classes"),
        (f"local-dir:{teachers / 'of5'}", None, "expected the data's 3 classes"),
        (f"local-dir:{teachers / 'of3'}", "of3.safetensors", "which has its own"),
        (f"local-dir:{teachers / 'pickled'}", None, "got no model.safetensors"),
        (f"local-dir:{teachers / 'odd'}", None, "expected a network that timm can make"),
        (f"local-dir:{teachers / 'none'}", None, "got no config.json"),
        ("hf-hub:nobody/nothing", None, "hf-hub:nobody/nothing: cannot be fetched"),
    ):
        with pytest.raises(TeacherError) as caught:
            open_teacher(name, weights, *HOW, 3, 32)
        assert said in str(caught.value), str(caught.value)
        assert "\n" not in str(caught.value)


def test_distillation_options_need_a_teacher() -> None:
    recipe = Recipe(epochs=1, batch_size=2, lr=0.1)
    for name in ("distillation", "teacher_weights"):
        with pytest.raises(UserError, match=f"{name}: got 'soft' and no teacher"):
            recipe.adapted(**{name: "soft"})
    assert recipe.adapted(teacher="t", distillation="soft").distillation == "soft"


def test_a_student_learns_from_a_folder(teachers: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(teachers)
    write_pictures(teachers / "set" / "train", count=8)
    (teachers / "recipe.yaml").write_text(RECIPE)
    (teachers / "tiny.yaml").write_text(dump_architecture(load_space("hybrid-32").smallest()))
    command = ["tiny.yaml", "--data", "set", "--recipe", "recipe.yaml"]
    assert main([*command, "--out", "run", "--teacher", "local-dir:of5"]) == 2
    assert not (teachers / "run").exists()
    assert open_images("set").num_classes == 3
    weights = []
    for more in ([], ["--teacher", "local-dir:of3"], ["--teacher", "local-dir:of3", "--distillation", "soft"]):
        out = f"run-{len(weights)}"
        assert main([*command, *more, "--out", out]) == 0
        weights.append((teachers / out / "weights.safetensors").read_bytes())
    assert len(set(weights)) == 3
    assert f"teacher: local-dir:{teachers / 'of3'}, soft distillation with weight 0.5" in capsys.readouterr().out
