"""What tests of commands share."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from nas.search import __main__ as search
from tests.nas.small_search import SPACE, command
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


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `folder`, with validation images and the run of a finished search: read it, and copy it to change it."""
    folder = filled(tmp_path_factory.mktemp("finished"))
    write_pictures(folder / "images" / "val", count=5)
    assert search.main(command(folder)) == 0
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the small space and pictures of three classes, which commands may fill."""
    return filled(tmp_path)


def filled(folder: Path) -> Path:
    """The folder, with the small space and pictures of three classes in it."""
    (folder / "tiny.yaml").write_text(SPACE)
    write_pictures(folder / "images" / "train", count=20)
    return folder


@pytest.fixture
def _skip_without_packages_of_format(request: pytest.FixtureRequest) -> None:
    """Skip a test whose parameter `name` is a format that this environment cannot write."""
    from nas.cli.packages import MissingPackageError
    from nas.export.by_name import FORMATS, format_named

    call = getattr(request.node, "callspec", None)
    name = call and call.params.get("name")
    if name in FORMATS:
        try:
            format_named(name).check()
        except MissingPackageError as error:
            pytest.skip(str(error))
