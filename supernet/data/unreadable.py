"""Damaged images are counted and named, and too many of them are an error: one rule for all sources.

Up to 5 % of a set's images, or a single one, may be damaged, but not all of a class. In training another
image of the same class and part takes the place of a damaged one; in evaluation it is left out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import numpy as np

from space.errors import UserError

MAX_SHARE = 0.05
"""Of a set's images that may be damaged; a single one always may."""
MAX_LISTED = 5
"""Names in one line."""


class DataError(UserError):
    """Images that are missing, damaged, or not what was asked for."""


class UnreadableImage(DataError):
    """One image's file is damaged; others may be whole. `brief` is the file and the reason."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: the image cannot be read ({reason})")
        self.brief = f"{where} ({reason})"


def printable(name: object) -> str:
    """A name of a file or class as it fits into a line: without line ends, and with escapes for what is no UTF-8."""
    return " ".join(str(name).split()).encode("utf-8", "backslashreplace").decode()


def listed(names: Sequence[str], separator: str = ", ") -> str:
    """The first few of several names."""
    more = f"{separator}and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return separator.join(names[:MAX_LISTED]) + more


class Unreadable:
    """The damaged images of a set that were found so far.

    Args:
        source, class_names, labels: of the set, as `supernet.data.image_set.ImageSet` has them.
    """

    def __init__(self, source: str, class_names: Sequence[str], labels: np.ndarray) -> None:
        self._source, self._class_names, self._labels = source, class_names, labels
        self._found: dict[int, str] = {}
        self._num_reported = 0

    def add(self, found: Mapping[int, str], sample_size: int = 0) -> None:
        """Note damaged images; DataError where there are too many, or all of a class.

        Names them on stderr whenever their number has doubled: a line for the first, and few for thousands.

        Args:
            found: by number, which file and why.
            sample_size: of how many images spread over the set, where it was such a sample; 0 otherwise. A share that is twice too
                large in it would be too large in the set.
        """
        new = list(found.keys() - self._found.keys())
        self._found |= found
        count, total = len(self._found), len(self._labels)
        if count > max(1, MAX_SHARE * total) or (sample_size and len(found) > max(1, 2 * MAX_SHARE * sample_size)):
            raise DataError(
                f"{self._source}: got {count} images of {total} that cannot be read, expected at most {MAX_SHARE:.0%}; "
                f"replace or remove them: {self._listed(0)}"
            )
        for label in np.unique(self._labels[new]):
            members = np.flatnonzero(self._labels == label).tolist()
            if self._found.keys() >= set(members):
                name, files = self._class_names[label], listed([self._found[index] for index in members], "; ")
                raise DataError(f"{self._source}: got no image of the class {name!r:.60} that can be read; replace them: {files}")
        if count >= max(1, 2 * self._num_reported):
            self.report()

    def report(self) -> None:
        """Name on stderr, in one line, those that were not named before."""
        if self._num_reported < len(self._found):
            counted = f"{len(self._found)} of {len(self._labels)} images so far cannot be read"
            print(f"{self._source}: {counted} and are passed over: {self._listed(self._num_reported)}", file=sys.stderr, flush=True)
            self._num_reported = len(self._found)

    def _listed(self, first: int) -> str:
        return listed(list(self._found.values())[first:], "; ")
