"""Readers: where the images of a set come from, one by one."""

from __future__ import annotations

from collections.abc import Collection
from typing import BinaryIO, Protocol

from PIL import Image

from supernet.data.pixels import opened


class Reader(Protocol):
    """Images by number, of any mode. An exception means that this one image is damaged, unless it is a DataError or the system's."""

    def image(self, row: int) -> Image.Image: ...

    def where(self, row: int) -> str:
        """The image's name in messages, such as its file."""


class EncodedImages:
    """A reader of encoded images: of files, of members of a tar, of cells of a table."""

    broken: Collection[int] = ()
    """Rows that are known to be unreadable."""

    def open(self, row: int) -> BinaryIO:
        raise NotImplementedError

    def where(self, row: int) -> str:
        raise NotImplementedError

    def image(self, row: int, least_side: int | None = None) -> Image.Image:
        """Decode an image: a JPEG at an eighth, a quarter or half of its size where its shorter side keeps `least_side` pixels."""
        with self.open(row) as file, opened(file) as image:
            if least_side is not None and min(image.size) > least_side:
                image.draft(None, tuple(-(-side * least_side // min(image.size)) for side in image.size))  # type: ignore[arg-type]
            image.load()
            return image

    def size(self, row: int) -> tuple[int, int]:
        """Width and height in pixels, by the header alone."""
        with self.open(row) as file, opened(file) as image:
            return image.size
