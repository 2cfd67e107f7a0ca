"""`MaskedImages`: images with a class for every pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from space.limits import MIN_IMAGE_SIZE
from supernet.data.image_set import SEGMENTATION, ImageSet, spread
from supernet.data.own_dataset import identity_of
from supernet.data.readers import Reader
from supernet.data.segmentation.masks import ClassTable, MaskReader
from supernet.data.target_options import VOID
from supernet.data.unreadable import DataError, listed, printable

MAX_DEFAULT_SIDE = 512
MAX_COUNTED, MAX_COUNTED_PIXELS = 256, 16 * 2**20
"""Masks in which classes are counted when a set is opened, and pixels decoded for that."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskedImages(ImageSet):
    """Images with masks, read on demand. All labels are 0: images have no classes of their own.

    Args:
        masks: by the same numbers as the images in the reader.
        table: what the numbers in masks stand for.
    """

    masks: MaskReader
    table: ClassTable

    @property
    def task(self) -> str:
        return SEGMENTATION

    @property
    def _digest(self) -> str:
        return identity_of(self.source, self.class_names, self.labels)

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"images": len(self), "pixels_by_class": self._counted[1], "counted_masks": self._counted[0]}

    @property
    def summary(self) -> str:
        counted, pixels = self._counted
        total = sum(pixels.values())
        classes = {name: count for name, count in pixels.items() if name != "none"}
        shares = sorted(classes, key=classes.__getitem__)
        rarest, commonest = (f"{printable(name)} {classes[name] / max(total, 1):.1%}" for name in (shares[0], shares[-1]))
        void = f", without a class {pixels['none'] / max(total, 1):.1%}" if pixels["none"] else ""
        return f"{len(self)} images with masks of {self.num_classes} classes, from {rarest} to {commonest} of the pixels of {counted}{void}"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.reopen is not None:
            return super().__reduce__()
        names = ("source", "class_names", "labels", "rows", "reader", "mirror", "crop", "targets", "masks", "table")
        return _rebuilt, (type(self), {name: getattr(self, name) for name in names})

    def mask(self, index: int) -> np.ndarray:
        """The classes of an image's pixels, (H, W) uint8, `VOID` where there is none; DataError names a mask with something else."""
        row = int(self.rows[index])
        where = self.masks.where(row)
        return self.table.apply(self.masks.mask(row), where)

    def scene(self, index: int, least_side: int | None = None) -> np.ndarray:
        """An image and its mask, (H, W, 4) uint8: red, green, blue, and 0 for no class or a class's number plus 1.

        So what is padded by zeros has no class.

        Args:
            least_side: as of `decode`; the mask is then reduced alike.
        """
        image = self.decode(index, least_side) if least_side else self.read(index)
        mask = self.mask(index)
        size = image.size
        if least_side and (size[1], size[0]) != mask.shape and _is_reduced(size, mask.shape):
            mask = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        if mask.shape != (size[1], size[0]):
            where = self.masks.where(int(self.rows[index]))
            got = f"got a mask of {mask.shape[1]}x{mask.shape[0]} pixels"
            raise DataError(f"{where}: {got}, expected {size[0]}x{size[1]}, the size of its image")
        return np.dstack([np.asarray(image), mask + np.uint8(1)])

    def default_image_size(self) -> int:
        """The median of some images' shorter sides, rounded up to a multiple of 32 px, within 32 and 512 px."""
        sides = [min(size) for size in self.sampled_sizes()]
        if not sides:
            raise DataError(f"{self.source}: got no image that can be read")
        return max(MIN_IMAGE_SIZE, min(MAX_DEFAULT_SIDE, -(-int(np.median(sides)) // 32) * 32))

    def inspected(self) -> MaskedImages:
        """This set, after a sample of its images and masks was read, so that mistakes are reported before anything is trained."""
        super().inspected()
        _ = self._counted
        return self

    def cautions_on(self, indices: np.ndarray) -> Iterator[str]:
        found = np.zeros(self.num_classes, dtype=bool)
        for index in indices[spread(len(indices), MAX_COUNTED)]:
            present = np.unique(self.mask(int(index)))
            found[present[present != VOID]] = True
        if not found.all():
            names = printable(listed([name for name, is_there in zip(self.class_names, found, strict=True) if not is_there]))
            yield f"too few images to be judged: classes {names}"

    @cached_property
    def _counted(self) -> tuple[int, dict[str, int]]:
        """In how many masks the pixels of every class were counted, and how many there are; `none` for those without a class."""
        counts, masks, pixels = np.zeros(256, dtype=np.int64), 0, 0

        def count(index: int) -> None:
            nonlocal counts, masks, pixels
            if pixels <= MAX_COUNTED_PIXELS:
                found = self.scene(index)[..., 3]
                counts = counts + np.bincount(found.reshape(-1), minlength=256)
                masks, pixels = masks + 1, pixels + found.size

        self._of_readable(spread(len(self), MAX_COUNTED), count)
        by_class = dict(zip(self.class_names, counts[1 : 1 + self.num_classes].tolist(), strict=True))
        return masks, by_class | {"none": int(counts[0])}


def masked_images(
    source: str, class_names: Sequence[str], reader: Reader, masks: MaskReader, table: ClassTable, count: int, remarks: Sequence[str] = ()
) -> MaskedImages:
    """A set of so many images with masks."""
    return MaskedImages(
        source, tuple(class_names), np.zeros(count, dtype=np.int64), np.arange(count), reader, remarks=tuple(remarks), masks=masks,
        table=table,
    )  # fmt: skip


def _is_reduced(size: tuple[int, int], shape: tuple[int, ...]) -> bool:
    """Whether an image of a size is one of the mask's size, decoded at an eighth, a quarter or half of it, rounded up."""
    return any((-(-shape[1] // factor), -(-shape[0] // factor)) == size for factor in (2, 4, 8))


def _rebuilt(kind: Callable[..., MaskedImages], fields: Mapping[str, Any]) -> MaskedImages:
    return kind(**fields)
