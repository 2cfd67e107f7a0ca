"""Where commands print, and what their tables look like."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

FILE_WIDTH = 120


def open_console(is_shown: bool = True) -> Console:
    """The terminal, or a file with room for every column; nothing where a Python caller did not ask for progress."""
    return Console(width=None if sys.stdout.isatty() else FILE_WIDTH, quiet=not is_shown)


def table_of(headings: Sequence[str], title: str | None = None, texts: Sequence[str] = ("",)) -> Table:
    """An empty table without frames, whose cells are not wrapped.

    Args:
        texts: headings of columns of text, which stand on the left; the others are of numbers, on the right.
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in texts else "right", no_wrap=True)
    return table
