"""`ImageSet`: labelled images by number, whatever their source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from space.errors import one_line
from space.limits import MIN_IMAGE_SIZE
from supernet.data.own_dataset import identity_of
from supernet.data.pixels import as_rgb
from supernet.data.readers import EncodedImages, Reader
from supernet.data.target_options import AS_FOUND, TargetOptions
from supernet.data.unreadable import DataError, Unreadable, UnreadableImage, listed, printable

CLASSIFICATION, SEGMENTATION = "classification", "segmentation"
"""The tasks of images with a class each, and of images with a class for every pixel."""
MAX_DEFAULT_SIZE = 224
FEW_IMAGES = 100
"""To judge on: with less, an accuracy of 50 % is not known to within 10 points."""
SMALL_PIXELS = 64 * 64
CACHE_BYTES = 256 * 2**20
MAX_BYTES = 4 * 2**30
"""The largest set that is read into memory."""
MAX_SIZED, MAX_INSPECTED, MAX_INSPECTED_PIXELS = 32, 512, 16 * 2**20
"""Images that the default size is made of; images inspected when a set is opened, and pixels decoded for that."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images, read on demand.

    Args:
        source: as the user named it.
        class_names: in order of their labels.
        labels: (N,) int64.
        rows: (N,) numbers of the images in the reader.
        mirror: whether an image's mirror image has the same label; not so for digits.
        crop: whether the greater part of an image has the same label; not so where things are counted.
        remarks: what a user should know of the source, such as what was passed over in it, a line each.
        targets: how they were asked to be read.
        reopen: the function, and its arguments, that opens the set again in another process; None where the reader travels.
    """

    source: str
    class_names: tuple[str, ...]
    labels: np.ndarray
    rows: np.ndarray
    reader: Reader
    mirror: bool = True
    crop: bool = True
    remarks: tuple[str, ...] = ()
    targets: TargetOptions = AS_FOUND
    reopen: tuple[Callable[..., ImageSet | None], *tuple[Any, ...]] | None = None
    _decoded: dict[int, Image.Image] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def task(self) -> str:
        """The name of the task that the targets are for."""
        return CLASSIFICATION

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def in_chans(self) -> int:
        """Images of any mode are read as RGB."""
        return 3

    @property
    def identity(self) -> str:
        """What a run's config calls the images: the name that they were opened by, or of a caller's dataset name, number, and digest."""
        return self.reopen[1] if self.reopen else self._digest

    @property
    def _digest(self) -> str:
        return identity_of(self.source, self.class_names, self.labels)

    @property
    def images_by_class(self) -> dict[str, int]:
        return dict(zip(self.class_names, np.bincount(self.labels, minlength=self.num_classes).tolist(), strict=True))

    @property
    def summary(self) -> str:
        """How many images there are, and how many of a class, in a line."""
        counts = self.images_by_class
        smallest, largest = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        first = f"{len(self)} images of {len(counts)} classes, {counts[smallest]}"
        if counts[smallest] == counts[largest]:
            return f"{first} a class"
        largest_one = f"{counts[largest]} ({printable(largest)})"
        return f"{first} ({printable(smallest)}) to {largest_one} a class, median {np.median(list(counts.values())):g}"

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a run keeps of the set: numbers of images, in terms of JSON."""
        return {"images": len(self), "images_by_class": self.images_by_class}

    def cautions_on(self, indices: np.ndarray) -> Iterator[str]:
        """What makes figures on some of the images doubtful, a line each."""
        absent = np.flatnonzero(np.bincount(self.labels[indices], minlength=self.num_classes) == 0)
        if len(absent):
            names = printable(listed([self.class_names[label] for label in absent]))
            yield f"too few images to be judged: classes {names}"
        if len(indices) < FEW_IMAGES:
            margin = 98 / max(len(indices), 1) ** 0.5
            yield f"few images to judge on: accuracies on {len(indices)} are known to about ± {margin:.0f} points"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.reopen is not None:
            return _opened_again, (*self.reopen, self._digest)
        return ImageSet, (self.source, self.class_names, self.labels, self.rows, self.reader, self.mirror, self.crop)

    @cached_property
    def unreadable(self) -> Unreadable:
        """The images that could not be read so far; who reads images adds to it."""
        return Unreadable(self.source, self.class_names, self.labels)

    @cached_property
    def kept(self) -> dict[Any, Any]:
        """The training images on a device, by what they depend on, see `supernet.data.kept_images`."""
        return {}

    def read(self, index: int) -> Image.Image:
        """Decode an image as RGB; UnreadableImage names its file where that is damaged."""
        if index in self._decoded:
            return self._decoded[index]
        image = self.decode(index)
        pixels = image.width * image.height
        # Decoding costs more than everything else done to a small image; Pillow keeps four bytes a pixel.
        if pixels <= SMALL_PIXELS and 4 * pixels * (len(self._decoded) + 1) <= CACHE_BYTES:
            self._decoded[index] = image
        return image

    def decode(self, index: int, least_side: int | None = None) -> Image.Image:
        """The same without keeping it; a JPEG may come smaller, its shorter side of `least_side` pixels or more."""
        reader = self.reader
        if least_side is None or not isinstance(reader, EncodedImages):
            return self._attempt(index, lambda row: as_rgb(reader.image(row)))
        return self._attempt(index, lambda row: as_rgb(reader.image(row, least_side)))

    def size(self, index: int) -> tuple[int, int]:
        """Width and height in pixels, before the image is turned upright; UnreadableImage as of `read`."""
        reader = self.reader
        return self._attempt(index, reader.size) if isinstance(reader, EncodedImages) else self.read(index).size

    def default_image_size(self) -> int:
        """The median of some images' shorter sides, rounded up to a multiple of 32 px, within 32 and 224 px."""
        sides = [min(size) for size in self.sampled_sizes()]
        if not sides:
            raise DataError(f"{self.source}: got no image that can be read")
        return max(MIN_IMAGE_SIZE, min(MAX_DEFAULT_SIZE, -(-int(np.median(sides)) // 32) * 32))

    def sizes_of(self, indices: Sequence[int] | np.ndarray) -> Mapping[int, tuple[int, int]]:
        """Widths and heights of those images that can be read."""
        return self._of_readable(np.asarray(indices), self.size)

    def sampled_sizes(self) -> Sequence[tuple[int, int]]:
        """Widths and heights of some images that can be read, spread over the set."""
        return list(self._of_readable(spread(len(self), MAX_SIZED), self.size).values())

    def inspected(self) -> ImageSet:
        """This set, after a sample of its image files was read, so that damage is reported before anything is trained.

        At most 512 images are opened. They are decoded until that has cost 16 million pixels; of the rest only headers are read.
        """
        if isinstance(self.reader, EncodedImages):
            pixels = 0

            def inspect(index: int) -> None:
                nonlocal pixels
                width, height = self.size(index) if pixels > MAX_INSPECTED_PIXELS else self.read(index).size
                pixels += width * height

            broken = np.flatnonzero(np.isin(self.rows, list(self.reader.broken)))
            self._of_readable(np.union1d(broken, spread(len(self), MAX_INSPECTED)), inspect)
        return self

    def _of_readable(self, indices: np.ndarray, ask: Callable[[int], Any]) -> Mapping[int, Any]:
        """What `ask` returns for each image that can be read; the others are added to `unreadable`."""
        found, unreadable = {}, {}
        for index in map(int, indices):
            try:
                found[index] = ask(index)
            except UnreadableImage as error:
                unreadable[index] = error.brief
        self.unreadable.add(unreadable, len(indices))
        return found

    def _attempt(self, index: int, read: Callable[[int], Any]) -> Any:
        row = int(self.rows[index])
        try:
            return read(row)
        except DataError:
            raise
        except Exception as error:  # Whatever a damaged file makes Pillow's decoders raise: their kinds are not documented.
            reason = "no image that Pillow knows" if isinstance(error, UnidentifiedImageError) else one_line(error) or type(error).__name__
            where = printable(self.reader.where(row))
            # An error of the system may be gone the next time: leaving the image out would make results depend on that.
            if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
                raise DataError(f"{where}: the image cannot be read ({reason})") from None
            raise UnreadableImage(where, reason) from None


def spread(total: int, limit: int) -> np.ndarray:
    """Numbers of at most `limit` of `total` things, evenly spread."""
    return np.unique(np.linspace(0, max(total - 1, 0), min(total, limit)).astype(int))


@lru_cache(maxsize=4)
def _opened_again(opener: Callable[..., ImageSet | None], name: str, *more: Any) -> ImageSet:
    """The set in another process, which opens it once, however many jobs bring it along."""
    *arguments, digest = more
    images = opener(name, *arguments)
    if images is None or images._digest != digest:
        raise DataError(f"{name}: the images have changed since this run opened them; start it again")
    return images
