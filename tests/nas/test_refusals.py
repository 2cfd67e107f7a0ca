"""What a command refuses, its `--dry-run` refuses in the same words, and neither changes anything."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.commands import main_of
from tests.nas.conftest import Mistaken
from tests.nas.small_commands import NAMES, commands, copied


def contents(place: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in place.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", NAMES)
def test_the_directory_of_another_run(name: str, finished: Path, tmp_path: Path, mistaken: Mistaken) -> None:
    place = copied(finished, tmp_path)
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
