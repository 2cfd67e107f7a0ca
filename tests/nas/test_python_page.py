"""The examples of docs/python.md, run as they stand there, but small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.documents import snippets
from tests.nas.small_search import BUDGET, SPACE
from tests.pictures import write_pictures

TRIALS = f'search("{BUDGET}", floor=0.5, trials=3, halving_candidates=0, workers=1'
SUPERNET = 'space="tiny.yaml", steps=2, batch_size=8'
EPOCH = "epochs=1, batch_size=16"
SMALL = {
    'search("4.5GFLOPs", data="path/to/train", supernet=': f'{TRIALS}, data="path/to/train", supernet=',
    'search("4.5GFLOPs", evaluator=wide_and_shallow, trials=30': f'{TRIALS}, space="tiny.yaml", evaluator=wide_and_shallow',
    'search("4.5GFLOPs"': f"{TRIALS}, {SUPERNET}",
    "train(data=": f"train({SUPERNET}, data=",
    "retrain(found.best,": f"retrain(found.best, {EPOCH},",
    'retrain("topformer-t",': f'retrain("topformer-t", {EPOCH},',
    'audit("runs/mine"': 'audit("runs/mine", architectures=4, seeds=1, steps=2, batch_size=4, short=[1], workers=1',
    'compare("runs/mine"': f'compare("runs/mine", {EPOCH}, seeds=1, random=1, workers=1',
    "224, 224": "32, 32",
}
"""What makes the calls small."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader stands."""
    (tmp_path / "tiny.yaml").write_text(SPACE)
    write_pictures(tmp_path / "path" / "to" / "train", count=20)
    write_pictures(tmp_path / "path" / "to" / "val", count=5)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*codes: str) -> dict[str, Any]:
    """Run code, made small, one piece after the other; the names that it leaves."""
    names: dict[str, Any] = {"__name__": "page"}
    for code in codes:
        for long, small in SMALL.items():
            code = code.replace(long, small)
        exec(compile(code, "python.md", "exec"), names)
    return names


def test_the_examples_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = run(*(code for code in snippets("python.md") if "nas.audit" not in code))
    assert names["logits"].shape == (1, 3)
    assert capsys.readouterr().out.splitlines()[-1] == "epochs: got 0, expected a whole number, 1 or more"
    assert {path.name for path in (place / "runs").iterdir()} == {"mine", "small", "retrain-mine", "supernet", "noise", "by-hand"}
    assert (place / "best.yaml").exists()


@pytest.mark.soak
def test_the_long_examples_run(place: Path) -> None:
    first = snippets("python.md")[0]
    run(first, *(code for code in snippets("python.md") if "nas.audit" in code))


def test_every_replacement_is_of_something() -> None:
    page = "".join(snippets("python.md"))
    assert [long for long in SMALL if long not in page] == []
