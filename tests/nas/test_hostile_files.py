"""No file that is handed in gets unpickled, at any door and under any name."""

from __future__ import annotations

import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nas import convert, profile
from nas.audit.table import load_bench
from nas.cli.command import exit_code_of
from nas.retrain import __main__ as retrain
from nas.search import __main__ as search
from nas.train import __main__ as train
from space.files import dump_architecture, load_space
from tests.nas.conftest import Mistaken
from tests.nas.small_search import command
from tests.pictures import pack, write_pictures

SUFFIXES = (".pt", ".pth", ".bin", ".safetensors", ".npz", ".pkl", ".ckpt", "")


class Hostile:
    """Makes a folder when an ordinary unpickler meets it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


def bare(marker: Path) -> bytes:
    return pickle.dumps(Hostile(marker))


def archived(marker: Path) -> bytes:
    """As `torch.save` writes it."""
    file = marker.with_name("archive")
    torch.save({"model": {"weight": torch.ones(2)}, "more": Hostile(marker)}, file)
    return file.read_bytes()


@pytest.fixture
def marker(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What must not come to be; whoever unpickles makes it, which the fixture checks."""
    marker = tmp_path_factory.mktemp("marker") / "ran"
    pickle.loads(bare(marker))
    marker.rmdir()
    return marker


def architecture(folder: Path) -> str:
    (folder / "tiny-architecture.yaml").write_text(dump_architecture(load_space(folder / "tiny.yaml").smallest()))
    return str(folder / "tiny-architecture.yaml")


def hand_to_convert(folder: Path, file: Path) -> int:
    return convert.main(["--parent", architecture(folder), "--weights", str(file), "--output", str(folder / "out")])


def hand_to_retrain(folder: Path, file: Path) -> int:
    return retrain.main([architecture(folder), "--data", str(folder / "images"), "--from", str(file), "--out", str(folder / "run")])


def hand_to_warm_start(folder: Path, file: Path) -> int:
    more = ["--steps", "2", "--batch-size", "8", "--data", str(folder / "images"), "--out", str(folder / "run")]
    return train.main(["--space", str(folder / "tiny.yaml"), "--warm-start", f"{architecture(folder)}={file}", *more])


@pytest.mark.parametrize("form", [bare, archived])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("door", [hand_to_convert, hand_to_retrain, hand_to_warm_start])
def test_weights(door: Callable, suffix: str, form: Callable, folder: Path, marker: Path, mistaken: Mistaken) -> None:
    file = folder / f"weights{suffix}"
    file.write_bytes(form(marker))
    assert str(file) in mistaken(lambda _: door(folder, file), [])
    assert not marker.exists()


@pytest.mark.parametrize("form", [bare, archived])
@pytest.mark.parametrize("name", ["supernet.safetensors", "supernet.checkpoint.safetensors", "config.json"])
def test_a_run_directory(name: str, form: Callable, folder: Path, marker: Path, mistaken: Mistaken) -> None:
    assert search.main(command(folder, "--minutes", "0.00001")) == 0
    # Without its weights a run trains again, from its checkpoint on.
    (folder / "run" / "supernet.safetensors").unlink()
    (folder / "run" / name).write_bytes(form(marker))
    assert name in mistaken(search.main, command(folder))
    assert not marker.exists()


@pytest.mark.parametrize("form", [bare, archived])
def test_a_training_checkpoint(form: Callable, folder: Path, marker: Path, mistaken: Mistaken) -> None:
    options = [architecture(folder), "--data", str(folder / "images"), "--epochs", "1", "--out", str(folder / "run")]
    assert retrain.main([*options, "--minutes", "0.000001"]) == 0
    (folder / "run" / "result.json").unlink()
    (folder / "run" / "checkpoint.safetensors").write_bytes(form(marker))
    assert "checkpoint.safetensors" in mistaken(retrain.main, options)
    assert not marker.exists()


@pytest.mark.parametrize("form", [bare, archived])
def test_yaml_json_and_csv(form: Callable, folder: Path, marker: Path, mistaken: Mistaken) -> None:
    file = folder / "file.yaml"
    file.write_bytes(form(marker))
    (folder / "bench.csv").write_bytes(form(marker))
    for run, arguments in (
        (profile.main, [str(file)]),
        (search.main, command(folder, "--space", str(file))),
        (retrain.main, [architecture(folder), "--recipe", str(file), "--out", str(folder / "run")]),
        (lambda _: exit_code_of(lambda: load_bench(folder)), []),
    ):
        mistaken(run, arguments)
    file.write_text(f"schema: architecture/1\nname: !!python/object/apply:os.mkdir ['{marker}']\n")
    assert f"{file}: not valid YAML: line 2: " in mistaken(profile.main, [str(file)])
    assert not marker.exists()


@pytest.mark.parametrize("form", [bare, archived])
@pytest.mark.parametrize("in_tar", [False, True])
def test_data(in_tar: bool, form: Callable, folder: Path, marker: Path) -> None:
    images = write_pictures(folder / "set", count=20)
    (images / "ant" / "3.png").write_bytes(form(marker))
    for name in ("class_map.pkl", "meta.bin", "ant/x.npy", "ant/_tarinfos.pickle"):
        (images / name).write_bytes(form(marker))
    source = pack(images) if in_tar else images
    # timm keeps its index of large tars there.
    (folder / "set_tarinfos.pickle").write_bytes(form(marker))
    assert search.main(command(folder, "--data", str(source))) == 0
    assert not marker.exists()


@pytest.mark.parametrize("form", [bare, archived])
def test_a_tar_that_is_none(form: Callable, folder: Path, marker: Path, mistaken: Mistaken) -> None:
    (folder / "set.tar").write_bytes(form(marker))
    assert "not a whole, uncompressed tar" in mistaken(search.main, command(folder, "--data", str(folder / "set.tar")))
    assert not marker.exists()


@pytest.mark.parametrize("member", ["../../escaped", "/tmp/escaped-from-a-tar"])
def test_members_of_a_tar_are_read_where_they_are(member: str, folder: Path) -> None:
    images = write_pictures(folder / "set", count=20)
    with tarfile.open(folder / "odd.tar", "w") as tar:
        for file in sorted(images.rglob("*.png")):
            tar.add(file, f"{member}/{file.relative_to(images)}")
    before = sorted(path for path in folder.rglob("*"))
    assert search.main(command(folder, "--data", str(folder / "odd.tar"), "--dry-run")) == 0
    assert sorted(path for path in folder.rglob("*")) == before
    assert not Path("/tmp/escaped-from-a-tar").exists()
