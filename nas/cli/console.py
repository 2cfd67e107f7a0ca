"""Where commands print, and what their tables, sentences and commands look like."""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

FILE_WIDTH = 120


class _CommandConsole(Console):
    """On a terminal, sentences are broken between words: with `soft_wrap=True` rich leaves that to the terminal, which breaks words."""

    def print(self, *objects: Any, soft_wrap: bool | None = None, **more: Any) -> None:
        if soft_wrap and self.is_terminal:
            objects = tuple(_wrapped(one, self.width) if isinstance(one, str) else one for one in objects)
        super().print(*objects, soft_wrap=soft_wrap, **more)


def open_console(is_shown: bool = True) -> Console:
    """The terminal, or a file with room for every column; nothing where a Python caller did not ask for progress."""
    return _CommandConsole(width=None if sys.stdout.isatty() else FILE_WIDTH, quiet=not is_shown)


def print_command(console: Console, words: Sequence[str], indent: int = 2) -> None:
    """Print a command of the shell to copy; on a terminal with a backslash where a line ends."""
    margin = " " * indent
    text = shlex.join(words)
    if console.is_terminal:
        width = max(console.width - len(" \\"), 1)
        lines = _lines([shlex.quote(word) for word in words], width - indent - 2)
        text = f" \\\n{margin}  ".join(lines)
    console.print(margin + text, soft_wrap=True, highlight=False, markup=False)


def table_of(headings: Sequence[str], title: str | None = None, texts: Sequence[str] = ("",)) -> Table:
    """An empty table without frames, whose cells are not wrapped.

    Args:
        texts: headings of columns of text, which stand on the left; the others are of numbers, on the right.
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in texts else "right", no_wrap=True)
    return table


def _wrapped(text: str, width: int) -> str:
    """The text with its lines broken between words, and as far in as each began; a longer word has a line of its own."""
    lines = []
    for line in text.split("\n"):
        margin = line[: len(line) - len(line.lstrip())]
        broken = textwrap.wrap(line, width, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False)
        lines += broken or [""]
    return "\n".join(lines)


def _lines(words: Sequence[str], width: int) -> list[str]:
    """The words in lines no wider than that, as far as that can be."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
