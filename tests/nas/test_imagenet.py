"""The commands of experiments/imagenet-4.5g, as its scripts give them: each is understood, and says what it would do."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest

from nas.retrain import __main__ as retrain
from nas.search import __main__ as search
from nas.train import __main__ as train
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from space.files import dump_architecture, load_space
from tests.pictures import write_pictures

SCRIPTS = sorted((Path(__file__).parents[2] / "experiments" / "imagenet-4.5g").glob("*/*.sh"))
COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"nas.train": train.main, "nas.search": search.main, "nas.retrain": retrain.main}
TOLD = {"1-supernet": "150000 steps of a path, 1024 images each", "2-search": "1000 architectures", "3-retrain": "300 epochs"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, an architecture within the budget, and programs that print what they are started with."""
    place = tmp_path_factory.mktemp("imagenet")
    write_pictures(place / "images" / "train", count=12)
    write_pictures(place / "images" / "val", count=2)
    (place / "searched").mkdir()
    best = ArchitectureBand(load_space("hybrid-224"), parse_budget("4.5GFLOPs")).draw(Random(0))
    (place / "searched" / "best.yaml").write_text(dump_architecture(best))
    (place / "programs").mkdir()
    for name in ("python", "torchrun"):
        program = place / "programs" / name
        program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        program.chmod(0o755)
    return place


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: f"{script.parent.name}-{script.stem}")
def test_a_script_tells_what_it_would_do(script: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = place / ("searched" if script.stem == "3-retrain" else "new")
    printed = {"IMAGENET": str(place / "images"), "OUT": str(out), "NODES": "2", "HEAD": "10.0.0.1"}
    path = f"{place / 'programs'}:{os.environ['PATH']}"
    before = sorted(place.rglob("*"))
    command = [script, "--dry-run"]
    started = subprocess.run(command, env={"PATH": path, **printed}, capture_output=True, text=True, check=True).stdout.splitlines()
    at = started.index("-m")
    assert COMMANDS[started[at + 1]](started[at + 2 :]) == 0
    assert TOLD[script.stem] in " ".join(capsys.readouterr().out.split())
    assert sorted(place.rglob("*")) == before


def test_there_is_a_script_for_each_step_on_either() -> None:
    assert [script.stem for script in SCRIPTS] == 2 * sorted(TOLD)
