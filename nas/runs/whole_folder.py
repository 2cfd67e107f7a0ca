"""Folders that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas.runs.directory import RunError


def check_new_folder(out: Path) -> None:
    """RunError where `folder_written_whole` could not give a folder this name."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"out: got {out}, which is there already, expected a new or an empty folder")
    if not out.absolute().parent.is_dir():
        raise RunError(f"out: got the folder {out.parent}, expected one that exists")


@contextmanager
def folder_written_whole(out: Path) -> Iterator[Path]:
    """A folder with a temporary name, which becomes `out` when nothing has failed."""
    folder = out.absolute().with_name(f".{out.name}.{os.getpid()}.tmp")
    folder.mkdir()
    try:
        yield folder
        folder.replace(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
