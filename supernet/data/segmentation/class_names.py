"""The names of the classes of masks, and perhaps their colours, from a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from supernet.data.segmentation.masks import MAX_CLASSES, Colour
from supernet.data.unreadable import DataError, listed

CONVENTIONAL = ("classes.txt", "class_names.txt", "labels.txt", "classes.csv", "class_dict.csv", "classes.json", "objectInfo150.txt")
"""Names of such files beside the data; the first one that is there counts."""
_NAME_COLUMNS = ("name", "class", "class_name", "label")
_COLOUR_COLUMNS = ("r", "g", "b")
_VOID_NAMES = ("void", "none", "ignore", "unlabelled", "unlabeled")
"""Names, in lower case, whose colours in a table stand for no class."""


class ClassNames(NamedTuple):
    """Names in the order of the class numbers, colours in the same order, if the file has them, and colours of what has no class."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...] = ()
    void_colours: tuple[Colour, ...] = ()


def parse_class_names(file: str, content: bytes) -> ClassNames:
    """The class names in a file's content.

    It is a text with a name a line; a table (.csv, .tsv, or a text with tabs) with a column `name` and perhaps `r`, `g` and `b`, where
    `void` and the like stand for no class; or JSON, a list of names or an object from numbers to names.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{file}: got no UTF-8 text, expected a class name a line") from None
    lines = [line for line in text.splitlines() if line.strip()]
    if Path(file).suffix.lower() == ".json":
        found = ClassNames(_of_json(file, text))
    elif lines and (Path(file).suffix.lower() in (".csv", ".tsv") or "\t" in lines[0]):
        found = _of_table(file, lines)
    else:
        found = ClassNames(tuple(line.strip() for line in lines))
    if not 1 < len(found.names) <= MAX_CLASSES:
        raise DataError(f"{file}: got {len(found.names)} class names, expected 2 to {MAX_CLASSES}")
    twice = [name for name in dict.fromkeys(found.names) if found.names.count(name) > 1]
    if twice:
        raise DataError(f"{file}: got {listed(twice)} more than once, expected a name for each class")
    return found


def _of_json(file: str, text: str) -> tuple[str, ...]:
    try:
        found: Any = json.loads(text)
    except ValueError as error:
        raise DataError(f"{file}: not JSON ({error})") from None
    if isinstance(found, dict) and all(key.isdecimal() for key in found):
        found = [found[key] for key in sorted(found, key=int)]
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise DataError(f"{file}: got {str(found)!r:.60}, expected a list of names, or an object from numbers to names")
    return tuple(found)


def _of_table(file: str, lines: Sequence[str]) -> ClassNames:
    rows = list(csv.reader(lines, delimiter=max(",;\t", key=lines[0].count)))
    header = [cell.strip().lower() for cell in rows[0]]
    at_name = next((header.index(name) for name in _NAME_COLUMNS if name in header), None)
    if at_name is None:
        raise DataError(f"{file}: got columns {listed(header)}, expected {_NAME_COLUMNS[0]}, and perhaps r, g and b")
    has_colours = all(column in header for column in _COLOUR_COLUMNS)
    needed = [at_name, *(header.index(column) for column in _COLOUR_COLUMNS if has_colours)]
    for number, row in enumerate(rows[1:], start=2):
        if len(row) <= max(needed) or not all(row[column].strip().isdecimal() for column in needed[1:]):
            raise DataError(f"{file}: line {number}: got {','.join(row)!r:.60}, expected a name{' and a colour' if has_colours else ''}")
    if not has_colours:
        return ClassNames(tuple(row[at_name].strip() for row in rows[1:]))
    found: dict[bool, list[tuple[str, Colour]]] = {True: [], False: []}
    for row in rows[1:]:
        name, (red, green, blue) = row[at_name].strip(), (int(row[column]) for column in needed[1:])
        found[name.lower() in _VOID_NAMES].append((name, (red, green, blue)))
    names, colours = zip(*found[False], strict=True) if found[False] else ((), ())
    return ClassNames(names, colours, tuple(colour for _, colour in found[True]))
