"""Where commands print their tables."""

from __future__ import annotations

import sys

from rich.console import Console

FILE_WIDTH = 120


def open_console(is_shown: bool = True) -> Console:
    """The terminal, or a file with room for every column; nothing where a Python caller did not ask for progress."""
    return Console(width=None if sys.stdout.isatty() else FILE_WIDTH, quiet=not is_shown)
