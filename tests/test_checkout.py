"""A checkout works where its dependencies are installed and it is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from nas import __version__
from tests.commands import ROOT
from tests.nas.small_search import SPACE

PACKAGES = ("space", "proxies", "supernet", "nas")
OWN = ("token_mixer_nas", "__editable__")
"""How the names begin of what an installation of this project leaves beside its dependencies."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A place with a small space, and in `path` all that Python finds: our packages and the dependencies, no installation of ours."""
    path = tmp_path / "path"
    path.mkdir()
    for package in PACKAGES:
        (path / package).symlink_to(ROOT / package)
    for site in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(site).iterdir():
            if not entry.name.startswith(OWN) and entry.name not in PACKAGES:
                (path / entry.name).symlink_to(entry)
    (tmp_path / "tiny.yaml").write_text(SPACE)
    return tmp_path


def run(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder / "path")}
    # -S: no site-packages beside that path.
    ended = subprocess.run([sys.executable, "-S", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_commands_run_and_tell_their_version(folder: Path) -> None:
    lookup = "from importlib import metadata\ntry: metadata.version('token-mixer-nas')\nexcept metadata.PackageNotFoundError: print('none')"
    assert run(folder, "-c", lookup) == "none\n"
    small = ["--space", "tiny.yaml", "--data", "digits", "--steps", "1", "--batch-size", "8", "--out", "run"]
    assert "nothing was written" in run(folder, "-m", "nas.train", *small, "--dry-run")
    run(folder, "-m", "nas.train", *small)
    versions = json.loads((folder / "run" / "config.json").read_text())["versions"]
    assert versions["token-mixer-nas"] == __version__
    assert all(versions.values())
