"""A record as a JSON file of a run's directory."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter, ValidationError

from nas.runs.directory import RunError
from space.files import write_atomically

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record")


def write_record(file: Path, record: DataclassInstance) -> None:
    """Write a record, a dataclass."""
    write_atomically(file, json.dumps(asdict(record), indent=1) + "\n")


def read_record(file: Path, kind: type[Record], what: str) -> Record | None:
    """The record in a file; None where there is no file.

    Args:
        kind: class of the record.
        what: the file holds, in words.

    Raises:
        RunError: it holds something else.
    """
    if not file.is_file():
        return None
    try:
        return TypeAdapter(kind).validate_json(file.read_bytes())
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, found["loc"]))[:100]
        raise RunError(f"{file}: {place or 'content'}: {found['msg']}, expected {what}") from None
