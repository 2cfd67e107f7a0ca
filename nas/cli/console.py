"""Where commands print their tables."""

from __future__ import annotations

import sys

from rich.console import Console

FILE_WIDTH = 120


def open_console() -> Console:
    """The terminal; what is written to a file instead has room for every column."""
    return Console(width=None if sys.stdout.isatty() else FILE_WIDTH)


def quiet_console() -> Console:
    """A console that shows nothing: for Python callers who did not ask for progress."""
    return Console(quiet=True)
