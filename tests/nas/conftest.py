"""What tests of commands share."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.nas.small_search import SPACE
from tests.pictures import write_pictures

Command = Callable[[Sequence[str]], int]
Mistaken = Callable[[Command, Sequence[str]], str]


@pytest.fixture
def mistaken(capsys: pytest.CaptureFixture[str]) -> Mistaken:
    """Runs a command that must end with exit code 2 and one line of complaint; returns that line."""

    def run(command: Command, arguments: Sequence[str]) -> str:
        capsys.readouterr()
        try:
            code = command(arguments)
        except SystemExit as end:
            code = end.code
        complaint = capsys.readouterr().err
        assert code == 2
        assert complaint.count("\n") == 1
        return complaint

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the small space and pictures of three classes, which commands may fill."""
    (tmp_path / "tiny.yaml").write_text(SPACE)
    write_pictures(tmp_path / "images" / "train", count=20)
    return tmp_path
