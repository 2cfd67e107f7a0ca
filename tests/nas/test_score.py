"""The command prints a row per architecture and a column per score; mistakes are one line."""

import re
from pathlib import Path

import pytest

from nas.score import main
from proxies.zero_cost.registry import SCORES
from space import dump_architecture
from tests.nas.conftest import Mistaken
from tests.space.examples import tiny_space


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "found.yaml"
    path.write_text(dump_architecture(tiny_space().smallest().replace(name="mine [bold]", num_classes=3)))
    return path


def columns_of(text: str) -> dict[str, list[str]]:
    """What the table says of each score: values and seconds in turn, an architecture after the other."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: row[1:] for row in rows if row and row[0] in SCORES}


def test_a_row_has_a_score_of_every_architecture_and_its_seconds(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(path), "topformer-t", "--data", "digits", "--batch-size", "4"]) == 0
    text = capsys.readouterr().out
    assert "at 32x32 on 4 images of digits, seed 0" in text
    assert re.search(r"^ +mine \[bold\] +s +topformer-t +s *$", text, re.MULTILINE)
    found = columns_of(text)
    assert found.keys() == set(SCORES)
    for cells in found.values():
        assert len(cells) == 4
        assert all(re.fullmatch(r"-?[\d,.]+(e\+\d+)?", cell) for cell in cells)
        assert all(re.fullmatch(r"\d+\.\d\d", seconds) for seconds in cells[1::2])
    assert f"scoring: {2 * len(SCORES)}/{2 * len(SCORES)} (100 %)" in text
    # Two architectures fit beside each other into a terminal of common width.
    assert max(len(line.rstrip()) for line in text.splitlines() if not line.startswith("Scores at")) <= 80


def test_chosen_scores_come_in_their_order_and_depend_on_the_seed_alone(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def scored(*arguments: str) -> list[str]:
        assert main([str(path), "--scores", "snip", "params", "--batch-size", "4", *arguments]) == 0
        found = columns_of(capsys.readouterr().out)
        assert [*found] == ["snip", "params"]
        return [cells[0] for cells in found.values()]

    first = scored()
    assert scored() == first
    other = scored("--seed", "1")
    assert other[0] != first[0]
    assert other[1] == first[1]


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "architecture"),
    (["davit"], "got 'davit', expected one of container"),
    (["davit-t", "--scores", "snap"], "score: got 'snap', expected one of az_expressivity"),
    (["topformer-t", "--scores", "naswot", "--batch-size", "1"], "naswot: got a batch of 1, expected 2 images or more"),
    (["topformer-t", "--batch-size", "5000"], "--batch-size: got 5000, expected at most the 2100 training images of scattered-digits"),
    (["topformer-t", "--image-size", "8"], "--image-size: got '8', expected a whole number, 32 or more"),
    (["topformer-t", "--data", "nowhere"], "nowhere: no such file or folder"),
])
def test_a_mistake_is_one_line(arguments: list[str], message: str, mistaken: Mistaken) -> None:
    assert message in mistaken(main, arguments)
