"""Reading a JSON file of a run's directory: what is damaged is named with its place."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from nas.runs.directory import RunError

Content = TypeVar("Content")


def read_json(file: Path, expected: TypeAdapter[Content], what: str) -> Content:
    """The content of a file.

    Args:
        what: it holds, in words.

    Raises:
        RunError: it holds something else.
    """
    try:
        return expected.validate_json(file.read_bytes())
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, found["loc"]))[:100]
        raise RunError(f"{file}: {place or 'content'}: {found['msg']}, expected {what}") from None
