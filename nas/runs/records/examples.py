"""`examples/`: what a network answers on some images, as pictures, and how good it is by class, where its task shows either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.runs.directory import RunError
from nas.runs.records.json_file import read_record, write_record
from space.files import write_atomically

FOLDER, FILE = "examples", "examples.json"


@dataclass(frozen=True)
class ClassFigure:
    """The headline figure of one class.

    Args:
        value: a share of 1; None where the class does not occur.
        colour: in the pictures, as `#rrggbb`.
    """

    name: str
    value: float | None
    colour: str


@dataclass(frozen=True)
class ExamplesRecord:
    """Answers of an architecture.

    Args:
        fingerprint: of the architecture.
        num_images: from which the figures of the classes come.
        classes: in the order of their numbers.
        num_pictures: files `0.png`, `1.png` and so on beside the record.
    """

    fingerprint: str
    num_images: int
    classes: tuple[ClassFigure, ...]
    num_pictures: int


def write_examples(run: Path, record: ExamplesRecord, pictures: Sequence[bytes]) -> None:
    """Write the record and its pictures, encoded as PNG, into a run's directory."""
    (run / FOLDER).mkdir(exist_ok=True)
    for number, picture in enumerate(pictures):
        write_atomically(run / FOLDER / f"{number}.png", picture)
    write_record(run / FOLDER / FILE, record)


def read_examples(run: Path, fingerprint: str) -> tuple[ExamplesRecord, list[bytes]] | None:
    """The record and the pictures of a run's directory; None where there are none of this architecture. RunError where one is damaged."""
    record = read_record(run / FOLDER / FILE, ExamplesRecord, "the example images of a search")
    if record is None or record.fingerprint != fingerprint:
        return None
    try:
        return record, [(run / FOLDER / f"{number}.png").read_bytes() for number in range(record.num_pictures)]
    except OSError as error:
        raise RunError(f"{error.filename}: cannot be read: {error.strerror}") from None
