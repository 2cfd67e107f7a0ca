"""A command lists the images of a data set once, however many trainings it does with them in its process."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from supernet.data.sources import kinds
from tests.commands import main_of
from tests.nas.small_commands import NAMES, commands, copied


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_a_data_set_is_opened_once(
    name: str, more: list[str], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = copied(finished, tmp_path)
    opened: Counter[tuple[Path, str]] = Counter()
    store = kinds._stored

    def counted(path: Path, part: str, *more: object) -> kinds.ImageSet | None:
        opened[path, part] += 1
        return store(path, part, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(kinds, "_stored", counted)
    arguments = [*commands(place)[name][0], *more]
    if name == "search" and not more:
        arguments += ["--halving-candidates", "2", "--halving-steps", "2"]
    assert main_of(name)(arguments) == 0
    assert opened
    assert set(opened.values()) == {1}, opened


@pytest.mark.parametrize("name", ["train", "retrain"])
def test_what_was_found_is_printed_and_recorded(name: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = copied(finished, tmp_path)
    (place / "images" / "train" / "ant" / "notes.txt").write_text("no image")
    arguments, _, folder = commands(place)[name]
    assert main_of(name)(arguments) == 0
    shown = capsys.readouterr().out
    record = json.loads((folder / "data.json").read_text())["train"]
    counts = record["images_by_class"]
    assert record["images"] == sum(counts.values())
    assert counts.keys() == {"ant", "bee", "cow"}
    assert f"{record['images']} images of 3 classes" in shown
    assert record["remarks"] == ["passed over as no images: 1 .txt"]
    assert record["remarks"][0] in shown
