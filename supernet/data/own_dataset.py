"""A caller's dataset object as a source of images: with `len()`, (image, target) by number, and `classes`, as torchvision's have."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import cloudpickle
import numpy as np
from PIL import Image
from torch import Tensor

from space.errors import one_line
from supernet.data.unreadable import DataError

OF_CALLER = "a dataset of the caller's"
CHANNELS = (1, 3, 4)


@runtime_checkable
class Dataset(Protocol):
    """Images with the numbers of their classes.

    An image is a PIL image, a uint8 array (H, W), (H, W, C) or (C, H, W), or a uint8 tensor (C, H, W), (H, W) or (H, W, C). A
    dataset with `targets`, the class numbers of all images, is listed without decoding any image.
    """

    classes: Sequence[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Any, Any]: ...


class OwnImages:
    """Reads the images of a dataset object. Other processes get the object as a pickle that cloudpickle makes."""

    def __init__(self, dataset: Dataset, name: str | None = None) -> None:
        self.dataset = dataset
        self.name = name or f"{OF_CALLER}, {type(dataset).__name__}"

    def labels(self) -> np.ndarray:
        """The class numbers of all images, (N,) int64; DataError where they are not such, or the first image is not an image."""
        total, classes = len(self.dataset), list(self.dataset.classes)
        if total:
            # An error in every image ends the command here; one in a later image counts as a damaged image.
            as_image(self.dataset[0][0], self.name)
        targets = getattr(self.dataset, "targets", None)
        found = np.asarray([self.dataset[i][1] for i in range(total)] if targets is None else targets).reshape(-1)
        if len(found) != total:
            raise DataError(f"{self.name}: got {len(found)} targets of {total} images, expected one an image")
        if total and (found.dtype.kind not in "iu" or found.min() < 0 or found.max() >= len(classes)):
            raise DataError(f"{self.name}: got targets such as {found[0]!r:.40}, expected whole numbers from 0 to {len(classes) - 1}")
        return found.astype(np.int64)

    def image(self, row: int) -> Image.Image:
        return as_image(self.dataset[row][0], self.where(row))

    def where(self, row: int) -> str:
        return f"{self.name}: image {row}"

    def __reduce__(self) -> tuple[Callable[[bytes], OwnImages], tuple[bytes]]:
        try:
            return _unpacked, (cloudpickle.dumps(self.dataset),)
        except Exception as error:  # The caller's object may raise anything.
            reason = one_line(error)
            raise DataError(f"{self.name}: got an object that cannot be sent to other processes ({reason}); expected one without open "
                            "files, or a single worker") from None  # fmt: skip


def _unpacked(content: bytes) -> OwnImages:
    return OwnImages(pickle.loads(content))


def identity_of(name: str, class_names: Sequence[str], labels: np.ndarray) -> str:
    """What identifies a dataset in a run's config: its name, its size, and a digest of classes and labels, but not of pixels."""
    digest = hashlib.sha256("\0".join(class_names).encode() + b"\0\0" + labels.astype("<i8").tobytes()).hexdigest()[:16]
    return f"{name}: {len(labels)} images of {len(class_names)} classes, {digest}"


def as_image(value: Any, where: str) -> Image.Image:
    """An image from what a dataset holds, see `Dataset`; DataError where it is none."""
    if isinstance(value, Image.Image):
        return value
    pixels, channels_first = (value.numpy(), True) if isinstance(value, Tensor) else (value, False)
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        kind = str(pixels.dtype) if isinstance(pixels, np.ndarray) else type(value).__name__
        raise DataError(f"{where}: got an image of {kind}, expected a PIL image or uint8 pixels; leave out transforms such as ToTensor")
    if pixels.ndim == 3:
        of_axis = {"first": pixels.shape[0] in CHANNELS, "last": pixels.shape[-1] in CHANNELS}
        if of_axis["first"] and (channels_first or not of_axis["last"]):
            pixels = pixels.transpose(1, 2, 0)
        if pixels.shape[-1] == 1:
            pixels = pixels[..., 0]
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[-1] in CHANNELS):
        expected = "(H, W), (H, W, C) or (C, H, W) with 1, 3 or 4 channels"
        raise DataError(f"{where}: got pixels of shape {tuple(value.shape)}, expected {expected}")
    return Image.fromarray(np.ascontiguousarray(pixels))
