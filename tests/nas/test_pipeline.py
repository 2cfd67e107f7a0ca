"""What all commands promise alike: the same results for any number of workers and after a kill, calls in Python, honest plans."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.audit import __main__ as audit
from nas.audit import audit as audit_call
from nas.compare import __main__ as compare
from nas.compare import compare as compare_call
from nas.retrain import __main__ as retrain
from nas.search import __main__ as search
from nas.train import __main__ as train
from space.files import load_architecture
from supernet.data import images
from tests.killing import run_killed, run_whole
from tests.nas.conftest import Command, Mistaken
from tests.nas.small_search import command

RECIPE = "schema: recipe/1\nepochs: 1\nbatch_size: 8\nlr: 1.0e-3\nmin_area: 0.8\nvalidation: 0.1\n"
SMALL_AUDIT = ("--architectures", "4", "--seeds", "1", "--steps", "3", "--batch-size", "4", "--long", "0", "--short", "2")


def auditing(folder: Path, bench: str, workers: int = 1) -> list[str]:
    return ["--run", str(folder / "run"), "--bench", str(folder / bench), *SMALL_AUDIT, "--workers", str(workers)]


def comparing(folder: Path, out: str, workers: int = 1) -> list[str]:
    (folder / "recipe.yaml").write_text(RECIPE)
    options = ["--recipe", str(folder / "recipe.yaml"), "--random", "1", "--seeds", "1", "--workers", str(workers)]
    return [str(folder / "run"), *options, "--out", str(folder / out)]


def trainings(folder: Path) -> dict[str, object]:
    """The results of an audit's trainings, but for the seconds that they took."""
    found = {file.name: json.loads(file.read_text()) for file in (folder / "trainings").glob("*.json")}
    return {name: {key: value for key, value in result.items() if key != "core_seconds"} for name, result in found.items()}


def table(folder: Path) -> list[list[str]]:
    with (folder / "comparison.csv").open(newline="") as file:
        return sorted(csv.reader(file))


KINDS: dict[str, tuple[Command, Callable[..., list[str]], Callable[[Path], object]]] = {
    "audit": (audit.main, auditing, trainings), "comparison": (compare.main, comparing, table),
}  # fmt: skip


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Path:
    """The folder of a finished search, to be changed."""
    shutil.copytree(finished, tmp_path / "place")
    return tmp_path / "place"


@pytest.mark.parametrize("kind", KINDS)
def test_one_worker_two_workers_and_a_kill_make_the_same(kind: str, place: Path) -> None:
    main, options, made = KINDS[kind]
    seconds = run_whole(main, options(place, f"{kind} one"))
    run_whole(main, options(place, f"{kind} two", 2))
    run_killed(main, options(place, f"{kind} killed"), 0.6 * seconds)
    run_whole(main, options(place, f"{kind} killed"))
    assert made(place / f"{kind} one")
    assert made(place / f"{kind} two") == made(place / f"{kind} one") == made(place / f"{kind} killed")


def test_audits_and_comparisons_are_calls_that_open_their_data_once(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    stored = images._stored
    monkeypatch.setattr(images, "_stored", lambda path, part: (opened.append(part), stored(path, part))[1])
    audited = audit_call(
        place / "run", bench=place / "called", architectures=4, seeds=1, steps=3, batch_size=4, long=0, short=[2], workers=1
    )
    assert audited.verdict
    assert opened == ["train"]
    opened.clear()
    (place / "recipe.yaml").write_text(RECIPE)
    best = load_architecture(place / "run" / "best.yaml")
    compared = compare_call(
        best, data=str(place / "images"), recipe=str(place / "recipe.yaml"), seeds=1, workers=1, out=place / "architecture"
    )
    assert compared.subject.contender.architecture.fingerprint == best.fingerprint
    assert len(compared.rows) >= 2, "itself, and a published network that costs no more"
    assert opened == ["train", "test"]
    assert not capsys.readouterr().out, "quiet unless asked"


@pytest.mark.parametrize("command_name", ["search", "train", "retrain", "audit", "compare"])
def test_a_plan_refuses_what_the_command_refuses(command_name: str, place: Path, mistaken: Mistaken) -> None:
    (place / "recipe.yaml").write_text(RECIPE)
    data = ["--data", str(place / "images")]
    taken = {
        "search": (search.main, command(place, "--seed", "7")),
        "train": (train.main, ["--space", str(place / "tiny.yaml"), *data, "--seed", "7", "--out", str(place / "run")]),
        "retrain": (retrain.main, [str(place / "run" / "best.yaml"), *data, "--seed", "7", "--out", str(place / "run")]),
        "audit": (audit.main, auditing(place, "run")),
        "compare": (compare.main, [*comparing(place, "run"), "--image-size", "64"][:-2]),
    }[command_name]
    main, options = taken
    refused = mistaken(main, options)
    assert "choose another" in refused
    assert mistaken(main, [*options, "--dry-run"]) == refused
