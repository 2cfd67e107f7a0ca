"""What a command refuses, its `--dry-run` refuses in the same words, and neither changes anything."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.commands import main_of
from tests.nas.conftest import Mistaken
from tests.nas.small_search import command as small_search
from tests.nas.test_compare import RECIPE

SMALL = {"audit": ["--steps", "3", "--batch-size", "4", "--architectures", "4", "--short", "2", "--long", "0", "--seeds", "1"]}


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished search, with a recipe."""
    place = shutil.copytree(finished, tmp_path / "place")
    (place / "recipe.yaml").write_text(RECIPE)
    return place


def commands(place: Path) -> dict[str, tuple[list[str], list[str], Path]]:
    """By name a command's arguments, those that make it another one, and the directory that it writes."""
    space, data, best = str(place / "tiny.yaml"), str(place / "images"), str(place / "run" / "best.yaml")
    recipe = ["--recipe", str(place / "recipe.yaml")]
    supernet = ["--space", space, "--data", data, "--batch-size", "8", "--steps", "2", "--out", str(place / "supernet")]
    audit = ["--run", str(place / "run"), *SMALL["audit"], "--workers", "1", "--bench", str(place / "bench")]
    return {
        "search": (small_search(place, "--out", str(place / "found")), ["--batch-size", "9"], place / "found"),
        "train": (supernet, ["--lr", "0.5"], place / "supernet"),
        "retrain": ([best, *recipe, "--data", data, "--out", str(place / "again")], ["--seed", "3"], place / "again"),
        "audit": (audit, ["--sample-seed", "5"], place / "bench"),
        "compare": ([str(place / "run"), *recipe, "--random", "0", "--seeds", "1", "--workers", "1"], ["--lr", "0.5"],
                    place / "run" / "comparison"),
    }  # fmt: skip


def contents(place: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in place.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", ["search", "train", "retrain", "audit", "compare"])
def test_the_directory_of_another_run(name: str, place: Path, mistaken: Mistaken) -> None:
    main, (arguments, otherwise, out) = main_of(name), commands(place)[name]
    for what in ("a file", "a folder of something else"):
        if what == "a file":
            out.write_text("mine")
        else:
            out.mkdir()
            (out / "mine.txt").write_text("mine")
        before = contents(place)
        refused = mistaken(main, arguments)
        assert "expected a folder" in refused or "not empty and not a run's directory" in refused
        assert mistaken(main, [*arguments, "--dry-run"]) == refused
        assert contents(place) == before
        out.unlink() if what == "a file" else shutil.rmtree(out)
    assert main(arguments) == 0
    assert main([*arguments, "--dry-run"]) == 0
    before = contents(place)
    refused = mistaken(main, [*arguments, *otherwise])
    assert f"{out}: holds a run with " in refused
    assert mistaken(main, [*arguments, *otherwise, "--dry-run"]) == refused
    assert contents(place) == before
