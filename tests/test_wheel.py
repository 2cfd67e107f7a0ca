"""The wheel carries everything that the packages are made of, and works where there is no checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from nas import __version__
from tests.commands import ROOT

BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = tuple(pattern.removesuffix("*").replace(".", "/") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"])
"""Their folders."""
LEFT_BEHIND = ("__pycache__", "*.egg-info")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources: setuptools leaves things beside them."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    subprocess.run([sys.executable, "-c", BUILD, str(target)], cwd=source, check=True, capture_output=True, timeout=120)
    (built,) = target.glob("*.whl")
    return built


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    # Recipes lie under experiments/, which nas/recipes points at.
    folders = [folder for package in PACKAGES for folder in os.walk(ROOT / package, followlinks=True)]
    files = {Path(folder, name).relative_to(ROOT) for folder, _, names in folders for name in names}
    assert inside == {path.as_posix() for path in files if "__pycache__" not in path.parts}
    catalogs = {"space/catalog/spaces/hybrid-224.yaml", "space/catalog/parents/davit-t.yaml", "nas/retrain/recipes/deit.yaml"}
    assert catalogs | {"supernet/data/digits.npz"} <= inside


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        printed = Parser().parsestr(archive.read(name).decode())
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
    project = PROJECT["project"]
    assert (printed["Name"], printed["Version"], printed["License-Expression"]) == (project["name"], __version__, "Apache-2.0")
    assert printed["Summary"] == project["description"]
    assert printed.get_payload() == (ROOT / "README.md").read_text()


@pytest.mark.soak
def test_a_search_runs_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    venv, nowhere = tmp_path / "venv", tmp_path / "empty"
    nowhere.mkdir()
    python = venv / "bin" / "python"
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*arguments: str) -> str:
        done = subprocess.run([python, *arguments], cwd=nowhere, env=clean, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, done.stderr
        return done.stdout

    subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=120)
    run("-m", "pip", "install", "--no-deps", "--no-index", str(wheel))
    # Dependencies are borrowed from the environment of the tests: a second PyTorch would be gigabytes. A path that a .pth file
    # names has its own .pth files left alone, so that an editable installation there does not come along.
    site = Path(run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    for package in PACKAGES:
        where = run("-c", f"import importlib.util as u; print(*u.find_spec('{package.replace('/', '.')}').submodule_search_locations)")
        assert Path(where.strip()).is_relative_to(venv)

    assert "nothing was written" in run("-m", "nas.search", "--dry-run", "--budget", "4.5GFLOPs")
    assert not list(nowhere.iterdir())
    small = ["--space", "hybrid-32", "--budget", "20MFLOPs", "--trials", "2", "--steps", "2", "--batch-size", "8"]
    small += ["--halving-candidates", "0"]
    run("-m", "nas.search", *small, "--out", "run")
    run("-m", "nas.draw", "run/best.yaml")
    recipe = ["--recipe", "deit", "--epochs", "1", "--batch-size", "64"]
    assert "error" not in run("-m", "nas.retrain", "run/best.yaml", *recipe, "--minutes", "0.01", "--out", "retrained")
    assert {file.name for file in nowhere.iterdir()} == {"run", "best.svg", "retrained"}
    assert (nowhere / "run" / "report.html").exists()
