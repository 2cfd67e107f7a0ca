"""Image files whose classes stand in files beside them: in a CSV, or in WebDataset shards."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from supernet.data.files import File, Files, Listing
from supernet.data.image_set import ImageSet
from supernet.data.labelled_set import labelled_set
from supernet.data.sources.parts import rows_in_part
from supernet.data.unreadable import DataError, listed

PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img")
LABEL_COLUMNS = ("label", "class", "target", "category", "class_name", "label_name")
SPLIT_COLUMNS = ("split", "part", "subset", "set")
MAX_LABEL_BYTES = 1000


def images_of_csv(path: Path, part: str) -> ImageSet | None:
    """The images of a table: a row an image, with its path, relative to the table's folder, its class, and perhaps its split.

    The columns are known by their names in the first row. A table of two columns, path and class, needs no such row.
    """
    rows = _rows_of_csv(path)
    header = [cell.lower() for cell in rows[0][1]] if rows else []
    at_path, at_label, at_split = (
        next((header.index(name) for name in names if name in header), None) for names in (PATH_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS)
    )
    if at_path is not None and at_label is not None:
        rows = rows[1:]
    elif len(header) == 2 and (path.parent / rows[0][1][0]).is_file():
        at_path, at_label, at_split = 0, 1, None
    else:
        raise DataError(f"{path}: got columns {listed(header)}, expected {PATH_COLUMNS[0]} and {LABEL_COLUMNS[0]}")
    labels: dict[str, tuple[str, str]] = {}
    for line, cells in rows:
        if len(cells) <= max(at_path, at_label, at_split or 0) or not cells[at_path] or not cells[at_label]:
            raise DataError(f"{path}: line {line}: got {','.join(cells)!r:.60}, expected a path and a class")
        found = cells[at_label], cells[at_split] if at_split is not None else ""
        if labels.setdefault(os.path.normpath(cells[at_path]), found) != found:
            again = f"{cells[at_path]!r:.60} again, of another class or split"
            raise DataError(f"{path}: line {line}: got {again}, expected one of each for an image")
    names, chosen = list(labels), rows_in_part([split for _, split in labels.values()], part)
    if chosen is None:
        return None
    files = [str(path.parent / names[row]) for row in chosen]
    files_found = [File(file, file, problem="" if os.path.isfile(file) else "no such file") for file in files]
    twice = len(rows) - len(labels)
    remarks = [f"passed over as rows that name a file again: {twice}"] if twice else []
    return labelled_set(str(path), [labels[names[row]][0] for row in chosen], Files(files_found), remarks=remarks)


def _rows_of_csv(path: Path) -> list[tuple[int, list[str]]]:
    """The rows that are not empty, with their lines' numbers; commas, semicolons or tabs part the columns."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=first.count), strict=True)
            return [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(map(str.strip, cells))]
    except UnicodeDecodeError:
        raise DataError(f"{path}: got no UTF-8 text, expected a table of paths and classes") from None
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: cannot be read as a table ({error})") from None


def is_sharded(listing: Listing) -> bool:
    """Whether the files are WebDataset's: beside `0001.jpg` lie `0001.cls`, or other facts about it, in the same folder."""
    keys = {_key(file) for file in listing.images}
    facts = {_key(file) for file in listing.others if file.suffix in (".cls", ".json", ".txt")}
    return bool(keys) and 2 * len(keys & facts) > len(keys)


def images_of_shards(listing: Listing, part: str, source: str) -> ImageSet | None:
    """The images of WebDataset shards, their classes as their `.cls` files say; `train` or `val` in a shard's name is its split."""
    classes = {_key(file): file for file in listing.others if file.suffix == ".cls"}
    without = [file.path for file in listing.images if _key(file) not in classes]
    if without:
        unpack = "unpack them into a folder a class"
        raise DataError(f"{source}: got WebDataset shards with images without .cls files, such as {without[0]!r:.60}; {unpack}")
    rows = rows_in_part([os.path.dirname(file.path) for file in listing.images], part)
    if rows is None:
        return None
    chosen = sorted((listing.images[row] for row in rows), key=lambda file: file.path)
    return labelled_set(source, [_content(classes[_key(file)], source) for file in chosen], Files(chosen))


def _key(file: File) -> str:
    """What WebDataset calls a sample: the path up to its name's first dot."""
    folder, name = os.path.split(file.path)
    return f"{folder}/{name.partition('.')[0]}"


def _content(file: File, source: str) -> str:
    with file.open() as content:
        text = content.read(MAX_LABEL_BYTES).decode("utf-8", "replace").strip()
    if not text:
        raise DataError(f"{source}: {file.path}: got an empty file, expected a class")
    return text
