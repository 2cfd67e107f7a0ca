"""The option that says which images a command reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HELP = "folder or tar in ImageFolder layout, a name timm knows, digits or probes"


def source_named(value: Any) -> str:
    """A source by name; a path as an absolute one, since others that read it may have another working directory."""
    if not isinstance(value, str | Path):
        raise ValueError(f"got {type(value).__name__}, expected a path or the name of a set")
    return str(Path(value).resolve()) if Path(value).exists() else str(value)
