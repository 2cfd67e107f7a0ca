"""Masks: what number a file has at every pixel, and what class that is.

A mask is an image of the size of its image, of class numbers: grey levels, indices into a palette, or colours where a file of class
names says which class has which colour. JPEG is refused, since its levels are not exact.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from space.errors import one_line
from supernet.data.own_dataset import OwnImages
from supernet.data.pixels import opened
from supernet.data.readers import EncodedImages
from supernet.data.target_options import VOID, TargetOptions
from supernet.data.unreadable import DataError, printable

Colour = tuple[int, int, int]
UNKNOWN = 254
"""In a table of classes: a number that is none."""
MAX_CLASSES = 254
_NUMBERED = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
"""Pillow's modes whose pixels are numbers, not colours."""


class MaskReader(Protocol):
    """Masks by the same numbers as their images. Whatever is wrong with one is a DataError that names it."""

    def mask(self, row: int) -> np.ndarray:
        """Numbers (H, W), or colours (H, W, 3) uint8."""

    def where(self, row: int) -> str:
        """The mask's name in messages, such as its file."""


@dataclass(frozen=True, eq=False)
class ClassTable:
    """Which class a number or a colour of a mask stands for.

    Args:
        classes: (256,) uint8: the class of a number, `VOID` or `UNKNOWN`.
        colours: the class of a colour; empty where colours stand for nothing.
        expected: which numbers stand for classes, in words.
    """

    classes: np.ndarray
    colours: Mapping[Colour, int]
    expected: str

    @classmethod
    def numbered(
        cls, num_classes: int, options: TargetOptions, colours: Sequence[Colour] = (), void_colours: Sequence[Colour] = ()
    ) -> ClassTable:
        """Classes in the order of their numbers, from 0 on, or from 1 on with `reduce_zero_label`."""
        first = int(options.reduce_zero_label)
        classes = np.full(256, UNKNOWN, dtype=np.uint8)
        classes[first : first + num_classes] = np.arange(num_classes)
        if options.reduce_zero_label:
            classes[[0, VOID]] = VOID
        if 0 <= options.ignore_index < 256:
            classes[options.ignore_index] = VOID
        expected = f"{first} to {first + num_classes - 1}, or {options.ignore_index} for no class"
        by_colour = {colour: number for number, colour in enumerate(colours)} | dict.fromkeys(void_colours, VOID)
        return cls(classes, by_colour, expected)

    def apply(self, found: np.ndarray, where: str) -> np.ndarray:
        """The classes of a mask, (H, W) uint8, `VOID` where there is none; DataError where a number or colour is unknown."""
        return self._of_colours(found, where) if found.ndim == 3 else self._of_numbers(found, where)

    def _of_numbers(self, numbers: np.ndarray, where: str) -> np.ndarray:
        low, high = int(numbers.min()), int(numbers.max())
        if low < 0 or high > 255:
            raise DataError(f"{where}: got the class number {high if high > 255 else low}, expected {self.expected}")
        classes = self.classes[numbers]
        unknown = classes == UNKNOWN
        if unknown.any():
            number = int(numbers[unknown][0])
            hint = "; is 0 no class (--reduce-zero-label)?" if self._is_one_too_many(number) else ""
            raise DataError(f"{where}: got the class number {number}, expected {self.expected}{hint}")
        return classes

    def _is_one_too_many(self, number: int) -> bool:
        return self.classes[0] == 0 and number == int((self.classes < UNKNOWN).sum())

    def _of_colours(self, colours: np.ndarray, where: str) -> np.ndarray:
        if not self.colours:
            raise DataError(f"{where}: got a mask of colours, expected class numbers (grey or with a palette), or --class-names with a "
                            "file of names and colours (name,r,g,b)")  # fmt: skip
        codes = (colours.astype(np.int32) * (1 << 16, 1 << 8, 1)).sum(2)
        classes = np.full(codes.shape, UNKNOWN, dtype=np.uint8)
        for (red, green, blue), number in self.colours.items():
            classes[codes == (red << 16 | green << 8 | blue)] = number
        unknown = classes == UNKNOWN
        if unknown.any():
            raise DataError(f"{where}: got the colour {tuple(colours[unknown][0].tolist())}, expected one that the class names list")
        return classes


class EncodedMasks:
    """Reads encoded masks: of files, of members of a tar, of cells of a table."""

    def __init__(self, encoded: EncodedImages) -> None:
        self._encoded = encoded

    def mask(self, row: int) -> np.ndarray:
        try:
            with self._encoded.open(row) as file:
                content = file.read()
        except (OSError, ValueError) as error:
            raise DataError(f"{self.where(row)}: the mask cannot be read ({one_line(error)})") from None
        return _numbers_of(content, self.where(row))

    def where(self, row: int) -> str:
        return printable(self._encoded.where(row))


class OwnMasks:
    """Reads the masks of a caller's data set."""

    def __init__(self, images: OwnImages) -> None:
        self._images = images

    def mask(self, row: int) -> np.ndarray:
        return numbers_of_value(self._images.dataset[row][1], self.where(row))

    def where(self, row: int) -> str:
        return self._images.where(row)


class MaskArray:
    """Reads masks of an array (N, H, W)."""

    def __init__(self, name: str, numbers: np.ndarray) -> None:
        self._name, self._numbers = name, numbers

    def mask(self, row: int) -> np.ndarray:
        return self._numbers[row]

    def where(self, row: int) -> str:
        return f"{self._name}: mask {row}"


def is_mask(target: Any) -> bool:
    """Whether the target of a caller's data set is a mask: an image, or numbers in two dimensions or more."""
    return isinstance(target, Image.Image) or np.ndim(target) >= 2


def _numbers_of(content: bytes, where: str) -> np.ndarray:
    """Numbers (H, W) or colours (H, W, 3) of an encoded mask; DataError where it is damaged or its pixels are not exact."""
    try:
        with opened(io.BytesIO(content)) as image:
            if image.format in ("JPEG", "MPO"):
                raise DataError(f"{where}: got a mask as JPEG, whose levels are not exact, expected PNG or another lossless format")
            image.load()
            image = ImageOps.exif_transpose(image)
    except DataError:
        raise
    except Exception as error:  # Whatever a damaged file makes Pillow's decoders raise: their kinds are not documented.
        reason = "no image that Pillow knows" if isinstance(error, UnidentifiedImageError) else one_line(error)
        raise DataError(f"{where}: the mask cannot be read ({reason})") from None
    return numbers_of_image(image, where)


def numbers_of_image(image: Image.Image, where: str) -> np.ndarray:
    """Numbers (H, W) or colours (H, W, 3) of a decoded mask."""
    if image.mode in _NUMBERED:
        return np.asarray(image).astype(np.int32)
    if image.mode == "LA":
        return np.asarray(image)[..., 0].astype(np.int32)
    if image.mode in ("RGB", "RGBA"):
        return np.asarray(image)[..., :3]
    raise DataError(f"{where}: got a mask of the mode {image.mode}, expected class numbers, grey or with a palette")


def numbers_of_value(value: Any, where: str) -> np.ndarray:
    """Numbers (H, W) of what a caller's data set has as target; DataError where it is no mask."""
    if isinstance(value, Image.Image):
        return numbers_of_image(value, where)
    found = np.asarray(value)
    if found.ndim == 3 and found.shape[0] == 1:
        found = found[0]
    if found.ndim != 2 or found.dtype.kind not in "iub":
        expected = "a PIL image or whole numbers (H, W)"
        raise DataError(f"{where}: got a mask of {found.dtype} and shape {tuple(found.shape)}, expected {expected}")
    return found.astype(np.int64)
