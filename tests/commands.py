"""The commands there are: every module of `nas`, or `__main__` of a folder of it, that has a `main`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FILES = {file.stem: f"nas.{file.stem}" for file in (ROOT / "nas").glob("*.py") if "\nmain = Command(" in file.read_text()}
_FOLDERS = {door.parent.name: f"nas.{door.parent.name}.__main__" for door in (ROOT / "nas").glob("*/__main__.py")}
COMMANDS = tuple(sorted(_FILES | _FOLDERS))


def main_of(command: str) -> Callable[[Sequence[str]], int]:
    """What `python -m nas.COMMAND` calls."""
    main: Callable[[Sequence[str]], int] = importlib.import_module((_FILES | _FOLDERS)[command]).main
    return main


def exit_code(command: str, arguments: Sequence[str]) -> int:
    """Of a command, run in this process."""
    try:
        return main_of(command)(arguments)
    except SystemExit as end:
        return int(end.code or 0)
