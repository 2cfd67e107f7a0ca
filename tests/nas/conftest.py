"""What tests of commands share."""

from collections.abc import Callable, Sequence

import pytest

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
