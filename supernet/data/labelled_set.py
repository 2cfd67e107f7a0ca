"""A set of images from names or numbers of their classes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from supernet.data.image_set import ImageSet
from supernet.data.readers import Reader
from supernet.data.unreadable import DataError, listed

NOT_MIRRORED = ("mnist", "svhn", "digits")
"""Words in the names of sets of letters or numbers, which change their meaning when they are mirrored."""


def labelled_set(
    source: str,
    labels: Sequence[str | int] | np.ndarray,
    reader: Reader,
    names: Sequence[str] | None = None,
    remarks: Sequence[str] = (),
    rows: np.ndarray | None = None,
) -> ImageSet:
    """A set of images with one class each. Its classes are those that occur among the labels.

    Args:
        labels: names or numbers of classes.
        names: of the numbered classes; by default the labels are the names, in natural order: 2 before 10.
        rows: of the images in the reader; by default all of them in turn.
    """
    if names is None:
        # macOS and Linux spell accents in two ways.
        found = [_printable_class(unicodedata.normalize("NFC", str(label))) for label in labels]
        names = sorted(set(found), key=natural_order)
        number = {name: label for label, name in enumerate(names)}
        labels = [number[name] for name in found]
        by_case: dict[str, list[str]] = {}
        for name in names:
            by_case.setdefault(name.casefold(), []).append(name)
        alike = [" and ".join(map(repr, group)) for group in by_case.values() if len(group) > 1]
        remarks = [*remarks, *([f"classes that differ in capitals alone: {listed(alike)}"] if alike else ())]
    numbers = np.asarray(labels)
    if len(numbers) and (numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() >= len(names)):
        raise DataError(f"{source}: got labels such as {labels[0]!r:.40}, expected names or whole numbers from 0 to {len(names) - 1}")
    present, numbers = np.unique(numbers, return_inverse=True)
    rows = np.arange(len(labels)) if rows is None else rows
    class_names = tuple(str(names[label]) for label in present)
    mirror = not any(word in source.rpartition("/")[2].lower() for word in NOT_MIRRORED)
    return ImageSet(source, class_names, numbers.astype(np.int64), rows, reader, mirror, remarks=tuple(remarks))


def natural_order(text: str) -> tuple[list[int | str], str]:
    """A key that sorts numbers in names by their value, and letters whatever their case."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text.lower())], text


def _printable_class(name: str) -> str:
    """A class's name with escapes for bytes that are no UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
