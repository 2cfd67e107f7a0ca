"""What becomes of images whose files are damaged: they are counted, told of, and at last too many."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import numpy as np

from space.errors import UserError

MAX_SHARE = 0.05
"""Of a set's images, one aside, that may be damaged; beyond that something else is wrong."""
MAX_LISTED = 5
"""Files that one line names."""


class DataError(UserError):
    """Images that are missing, damaged, or not what was asked for."""


class UnreadableImage(DataError):
    """One image's file is damaged; others may be whole. `brief` is the file and the reason."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: the image cannot be read ({reason})")
        self.brief = f"{where} ({reason})"


class Unreadable:
    """The damaged images of a set, as far as they were met.

    Args:
        source, class_names, labels: of the set, as `supernet.data.images.ImageSet` has them.
    """

    def __init__(self, source: str, class_names: Sequence[str], labels: np.ndarray) -> None:
        self._source, self._class_names, self._labels = source, class_names, labels
        self._met: dict[int, str] = {}
        self._told = 0

    def add(self, met: Mapping[int, str]) -> None:
        """Note damaged images; DataError where there are too many, or all of a class.

        Tells of them whenever their number has doubled: a line for the first, and few for thousands.

        Args:
            met: by number, which file and why.
        """
        new = list(met.keys() - self._met.keys())
        self._met |= met
        count, total = len(self._met), len(self._labels)
        if count > max(1, MAX_SHARE * total):
            raise DataError(
                f"{self._source}: got {count} images of {total} that cannot be read, expected at most {MAX_SHARE:.0%}; "
                f"replace or remove them: {self._listed(0)}"
            )
        for label in np.unique(self._labels[new]):
            members = np.flatnonzero(self._labels == label)
            if self._met.keys() >= set(members.tolist()):
                name = self._class_names[label]
                raise DataError(f"{self._source}: got no image of the class {name!r:.60} that can be read; replace them: {self._listed(0)}")
        if count >= max(1, 2 * self._told):
            self.tell()

    def tell(self) -> None:
        """Name on stderr, in one line, those that were not named before."""
        if self._told < len(self._met):
            counted = f"{len(self._met)} of {len(self._labels)} images so far cannot be read"
            print(f"{self._source}: {counted} and are passed over: {self._listed(self._told)}", file=sys.stderr, flush=True)
            self._told = len(self._met)

    def _listed(self, first: int) -> str:
        messages = list(self._met.values())[first:]
        more = f"; and {len(messages) - MAX_LISTED} more" if len(messages) > MAX_LISTED else ""
        return "; ".join(messages[:MAX_LISTED]) + more
