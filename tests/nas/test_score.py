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


def numbers_of(name: str, text: str) -> list[str]:
    return re.findall(r"-?[\d,.]+(?:e\+\d+)?", text.split(name, 1)[1].splitlines()[0])


def test_a_row_has_every_score_and_its_seconds(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(path), "topformer-t", "--data", "digits", "--batch-size", "4"]) == 0
    text = capsys.readouterr().out
    assert "at 32x32 on 4 images of digits, seed 0" in text
    assert all(name in text for name in SCORES)
    assert len(numbers_of(" mine [bold] ", text)) == len(numbers_of(" topformer-t ", text)) == len(SCORES)
    assert len(re.findall(r"\d+\.\d\d s\b", text)) == 2 * len(SCORES)


def test_chosen_scores_come_in_their_order_and_depend_on_the_seed_alone(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def scored(*arguments: str) -> list[str]:
        assert main([str(path), "--scores", "snip", "params", "--batch-size", "4", *arguments]) == 0
        text = capsys.readouterr().out
        assert re.search(r"^ +snip +params *$", text, re.MULTILINE)
        return numbers_of(" mine [bold] ", text)

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
