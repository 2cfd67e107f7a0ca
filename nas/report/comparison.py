"""What `nas.compare` found out about a run: test accuracies of networks that were retrained alike."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nas.runs.directory import RunError
from nas.runs.records.reading import read_json
from supernet.intervals import Accuracy, over_seeds

FOLDER = "comparison"


@dataclass(frozen=True)
class Retrained:
    """A network of the comparison; `label` as its table calls it."""

    label: str
    fingerprint: str
    macs: int
    params: int
    test: Accuracy

    @property
    def is_random(self) -> bool:
        """Whether it was drawn at random inside the budget."""
        return self.label.startswith("random ")


@dataclass(frozen=True)
class Comparison:
    """All of them, best first, and how they were trained, in words."""

    networks: tuple[Retrained, ...]
    about: str

    @property
    def median_random(self) -> Retrained | None:
        """The median of those drawn at random; of an even number the lower one of the two."""
        drawn = sorted((one for one in self.networks if one.is_random), key=lambda one: one.test.share)
        return drawn[(len(drawn) - 1) // 2] if drawn else None


@dataclass(frozen=True)
class _Row:
    network: str
    fingerprint: str
    macs: int
    params: int
    seed: int
    test_accuracy: float


@dataclass(frozen=True)
class _Test:
    images: int


@dataclass(frozen=True)
class _Result:
    test: _Test


@dataclass(frozen=True)
class _Config:
    recipe: dict[str, Any]


@dataclass(frozen=True)
class _File:
    config: _Config


def comparison_of(run: Path) -> Comparison | None:
    """The comparison of a run's directory; None where none was made."""
    folder = run / FOLDER
    if not (folder / "comparison.csv").is_file():
        return None
    rows = _rows(folder / "comparison.csv")
    by_network: dict[str, list[_Row]] = {}
    for row in rows:
        by_network.setdefault(row.fingerprint, []).append(row)
    networks = []
    for fingerprint, of_network in by_network.items():
        first = of_network[0]
        test = over_seeds([row.test_accuracy for row in of_network], _num_images(folder, of_network))
        if test is not None:
            networks.append(Retrained(first.network, fingerprint, first.macs, first.params, test))
    networks.sort(key=lambda one: one.test.share, reverse=True)
    return Comparison(tuple(networks), _about(folder, networks))


def _rows(file: Path) -> list[_Row]:
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            return TypeAdapter(list[_Row]).validate_python(list(csv.DictReader(lines)))
    except (ValidationError, ValueError, csv.Error):
        raise RunError(f"{file}: got no table of retrainings, expected that of nas.compare") from None


def _num_images(folder: Path, rows: Sequence[_Row]) -> int | None:
    """Test images, where every retraining's result is still there."""
    files = [folder / f"{row.fingerprint}-{row.seed}" / "result.json" for row in rows]
    if not all(file.is_file() for file in files):
        return None
    (num_images, *others) = {read_json(file, TypeAdapter(_Result), "a retraining's result").test.images for file in files}
    return None if others else num_images


def _about(folder: Path, networks: Sequence[Retrained]) -> str:
    file = folder / "config.json"
    seeds = max((one.test.num_seeds for one in networks), default=0)
    about = f"{seeds} {'seeds' if seeds > 1 else 'seed'} each"
    if file.is_file():
        recipe = read_json(file, TypeAdapter(_File), "the config of a comparison").config.recipe
        told = (("epochs", "epochs"), ("batch_size", "images a step"))
        about += "".join(f", {recipe[key]} {name}" for key, name in told if key in recipe)
    return about
