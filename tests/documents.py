"""What the README and the pages under `docs` tell a reader to type: commands, Python code, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.commands import ROOT

DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
INDENT = "    "
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")


def commands() -> tuple[str, ...]:
    """Every command, once each, in the order of the pages: lines that are indented, or fenced as no other language's."""
    found: dict[str, None] = {}
    for document in DOCUMENTS:
        text = document.read_text()
        fenced = [line for language, block in _FENCED.findall(text) if language in ("", "bash", "sh") for line in block.splitlines()]
        indented = [line for line in _FENCED.sub("", text).splitlines() if line.startswith(INDENT)]
        found |= {command: None for line in (*indented, *fenced) if (command := line.partition(" #")[0].strip())}
    return tuple(found)


def snippets(page: str) -> list[str]:
    """The Python code of a page."""
    return [block for language, block in _FENCED.findall((ROOT / "docs" / page).read_text()) if language == "python"]


def links() -> Iterator[tuple[Path, str]]:
    """Every page with every file that it refers to."""
    for document in DOCUMENTS:
        for target in map("".join, _LINK.findall(document.read_text())):
            if "://" not in target:
                yield document, target.partition("#")[0]
