"""Reading a record: what is not there is None, and what is damaged is named with its place."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from nas.runs.directory import RunError

Record = TypeVar("Record")


def read_record(file: Path, expected: TypeAdapter[Record], what: str) -> Record | None:
    """The content of a JSON file; None where there is none.

    Args:
        what: the file holds, in words.

    Raises:
        RunError: the file holds something else.
    """
    try:
        return expected.validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, found["loc"]))[:100]
        raise RunError(f"{file}: {place or 'content'}: {found['msg']}, expected {what}") from None
