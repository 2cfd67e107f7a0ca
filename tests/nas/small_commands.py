"""The five commands that train, made small, on the directory of a search that has ended."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.nas.small_search import command as small_search

RECIPE = "schema: recipe/1\nepochs: 1\nbatch_size: 8\nlr: 1.0e-3\nmin_area: 0.8\nvalidation: 0.1\n"
AUDIT = ["--steps", "3", "--batch-size", "4", "--architectures", "4", "--short", "2", "--long", "0", "--seeds", "1"]
NAMES = ("search", "train", "retrain", "audit", "compare")


def copied(finished: Path, folder: Path) -> Path:
    """A copy of a finished search, with a recipe."""
    place = shutil.copytree(finished, folder / "place")
    (place / "recipe.yaml").write_text(RECIPE)
    return place


def commands(place: Path) -> dict[str, tuple[list[str], list[str], Path]]:
    """By name a command's arguments, those that make it another one, and the directory that it writes."""
    space, data, best = str(place / "tiny.yaml"), str(place / "images"), str(place / "run" / "best.yaml")
    recipe = ["--recipe", str(place / "recipe.yaml")]
    supernet = ["--space", space, "--data", data, "--batch-size", "8", "--steps", "2", "--out", str(place / "supernet")]
    audit = ["--run", str(place / "run"), *AUDIT, "--workers", "1", "--bench", str(place / "bench")]
    return {
        "search": (small_search(place, "--out", str(place / "found")), ["--batch-size", "9"], place / "found"),
        "train": (supernet, ["--lr", "0.5"], place / "supernet"),
        "retrain": ([best, *recipe, "--data", data, "--out", str(place / "again")], ["--seed", "3"], place / "again"),
        "audit": (audit, ["--sample-seed", "5"], place / "bench"),
        "compare": ([str(place / "run"), *recipe, "--random", "0", "--seeds", "1", "--workers", "1"], ["--lr", "0.5"],
                    place / "run" / "comparison"),
    }  # fmt: skip
