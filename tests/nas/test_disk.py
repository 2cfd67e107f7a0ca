"""Disks that are full, may not be written, or held only half of a file: a line, nothing lost, and the same command goes on."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.torch import save_file

from nas import convert
from nas.audit import __main__ as audit
from nas.compare import __main__ as compare
from nas.export import __main__ as export
from nas.retrain import __main__ as retrain
from nas.search import __main__ as search
from nas.train import __main__ as train
from space.files import dump_architecture, load_space
from tests.killing import run_whole
from tests.nas.conftest import Command, Mistaken
from tests.nas.small_search import command
from tests.pictures import write_pictures

RECIPE = "schema: recipe/1\nepochs: 1\nbatch_size: 8\nlr: 1.0e-3\nmin_area: 0.8\nvalidation: 0.1\n"


@dataclass(frozen=True)
class Disk:
    """A small file system."""

    path: Path

    def fill(self, left: int) -> None:
        """Leave so many bytes."""
        self.empty()
        free = os.statvfs(self.path)
        size = free.f_bavail * free.f_frsize - left
        with (self.path / "filler").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)

    def empty(self) -> None:
        (self.path / "filler").unlink(missing_ok=True)

    def set_read_only(self, is_so: bool) -> None:
        subprocess.run(["mount", "-o", f"remount,{'ro' if is_so else 'rw'}", str(self.path)], check=True)


@pytest.fixture
def disk(folder: Path) -> Iterator[Disk]:
    path = folder / "disk"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(path)], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def searched(folder: Path) -> Path:
    """A search that has ended, and holds nothing open any more; its directory."""
    write_pictures(folder / "images" / "val", count=4)
    (folder / "recipe.yaml").write_text(RECIPE)
    run = folder / "disk" / "run"
    run_whole(search.main, command(folder, "--trials", "2", "--out", str(run)))
    return run


Prepared = tuple[Command, list[str]]


def a_search(folder: Path) -> Prepared:
    return search.main, command(folder, "--trials", "2", "--out", str(folder / "disk" / "run"))


def a_search_with_successive_halving(folder: Path) -> Prepared:
    main, options = a_search(folder)
    return main, [*options, "--halving-candidates", "2", "--halving-steps", "2"]


def a_supernet(folder: Path) -> Prepared:
    options = ["--space", str(folder / "tiny.yaml"), "--data", str(folder / "images"), "--steps", "3", "--batch-size", "8"]
    return train.main, [*options, "--out", str(folder / "disk" / "run")]


def architecture(folder: Path) -> str:
    (folder / "small.yaml").write_text(dump_architecture(load_space(folder / "tiny.yaml").smallest()))
    return str(folder / "small.yaml")


def a_retraining(folder: Path) -> Prepared:
    (folder / "recipe.yaml").write_text(RECIPE)
    options = ["--recipe", str(folder / "recipe.yaml"), "--data", str(folder / "images"), "--out", str(folder / "disk" / "run")]
    return retrain.main, [architecture(folder), *options]


def a_conversion(folder: Path) -> Prepared:
    from tests.nas.small_official import SMALL, small_weights

    (folder / "davit.yaml").write_text(SMALL)
    save_file(small_weights(), folder / "official.safetensors")
    files = ["--parent", str(folder / "davit.yaml"), "--weights", str(folder / "official.safetensors")]
    return convert.main, [*files, "--output", str(folder / "disk" / "out")]


def an_export(folder: Path) -> Prepared:
    return export.main, ["--study", str(searched(folder)), "--trial", "1", "--output", str(folder / "disk" / "one.yaml")]


def a_comparison(folder: Path) -> Prepared:
    options = ["--recipe", str(folder / "recipe.yaml"), "--random", "1", "--seeds", "1", "--workers", "1"]
    return compare.main, [str(searched(folder)), *options]


def an_audit(folder: Path) -> Prepared:
    options = ["--steps", "3", "--batch-size", "4", "--architectures", "4", "--seeds", "1", "--long", "0", "--short", "2", "--workers", "1"]
    return audit.main, ["--run", str(searched(folder)), *options]


COMMANDS = (a_search, a_retraining, a_conversion)
SOAKED = (a_search_with_successive_halving, a_supernet, an_export, a_comparison, an_audit)


def contents(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file() and file.name != "filler"}


def code_of(main: Command, arguments: Sequence[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


@pytest.mark.parametrize("prepare", [*COMMANDS, *(pytest.param(prepare, marks=pytest.mark.soak) for prepare in SOAKED)])
def test_a_full_disk_and_one_that_may_not_be_written(
    prepare: Callable[[Path], Prepared], disk: Disk, folder: Path, mistaken: Mistaken, capsys: pytest.CaptureFixture[str]
) -> None:
    main, arguments = prepare(folder)
    before = contents(disk.path)
    disk.set_read_only(True)
    assert "Read-only file system" in mistaken(main, arguments)
    disk.set_read_only(False)
    assert contents(disk.path) == before
    for left in (0, 3 * 4096, 100_000):
        disk.fill(left)
        capsys.readouterr()
        code = code_of(main, arguments)
        complaints = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert (code, len(complaints)) == (2, 1) or (left and (code, complaints) == (0, []))
        # What was whole before is so still.
        assert all(file.exists() for file in before)
        assert not list(disk.path.rglob("*.tmp"))
    disk.empty()
    assert main(arguments) == 0


SPOILT = {"config.json": "not a run's config", "supernet.safetensors": "the checkpoint is damaged"}


@pytest.mark.parametrize("cut", [pytest.param(0.0, marks=pytest.mark.soak), 0.9])
@pytest.mark.parametrize("name", SPOILT)
def test_half_of_a_file_that_a_search_goes_on_from_is_named(name: str, cut: float, folder: Path, mistaken: Mistaken) -> None:
    run_whole(search.main, command(folder, "--trials", "2"))
    file = folder / "run" / name
    whole = cut_off(file, cut)
    before = contents(folder / "run")
    more = command(folder, "--trials", "3")
    assert SPOILT[name] in mistaken(search.main, more)
    after = contents(folder / "run")
    assert all(after[path] == content for path, content in before.items() if path == file or path.name not in (".lock", "config.json"))
    file.write_bytes(whole)
    assert search.main(more) == 0


@pytest.mark.parametrize("cut", [pytest.param(0.0, marks=pytest.mark.soak), 0.9])
def test_a_search_goes_on_from_what_is_left_of_its_study(cut: float, folder: Path) -> None:
    run_whole(search.main, command(folder, "--trials", "2"))
    cut_off(folder / "run" / "study.journal", cut)
    assert search.main(command(folder, "--trials", "3")) == 0


def cut_off(file: Path, share: float) -> bytes:
    """Keep the beginning of a file; what it held."""
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    return whole


@pytest.mark.parametrize("cut", [0.0, 0.9])
@pytest.mark.parametrize("name", ["checkpoint.safetensors", "config.json"])
def test_half_of_a_file_that_a_retraining_goes_on_from_is_named(name: str, cut: float, folder: Path, mistaken: Mistaken) -> None:
    (folder / "recipe.yaml").write_text(RECIPE)
    options = ["--recipe", str(folder / "recipe.yaml"), "--epochs", "3", "--data", str(folder / "images"), "--out", str(folder / "run")]
    more = [architecture(folder), *options]
    assert retrain.main([*more, "--minutes", "0.0001"]) == 0
    whole = cut_off(folder / "run" / name, cut)
    assert name in mistaken(retrain.main, more)
    (folder / "run" / name).write_bytes(whole)
    assert retrain.main(more) == 0


@pytest.mark.parametrize("cut", [0.0, 0.5, 0.9])
def test_half_of_a_retrainings_result_is_none(cut: float, folder: Path) -> None:
    main, options = a_retraining(folder)
    options = [*options[:-1], str(folder / "run")]
    assert main(options) == 0
    result = folder / "run" / "result.json"
    whole = json.loads(cut_off(result, cut))
    assert main(options) == 0
    assert json.loads(result.read_text())["test"] == whole["test"]
    assert json.loads(result.read_text())["validation"] == whole["validation"]
