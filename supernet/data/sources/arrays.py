"""Images in memory, and `.npz` files of them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from space.errors import one_line
from supernet.data.image_set import MAX_BYTES, ImageSet
from supernet.data.labelled_set import labelled_set
from supernet.data.own_dataset import as_image
from supernet.data.sources.parts import rows_in_part
from supernet.data.unreadable import DataError, listed

CLASS_NAMES = ("class_names", "classes")


class Pixels:
    """Reads images of an array (N, H, W), (N, H, W, C) or (N, C, H, W) uint8."""

    def __init__(self, name: str, pixels: np.ndarray) -> None:
        self._name = name
        self._pixels = pixels

    def image(self, row: int) -> Image.Image:
        return as_image(self._pixels[row], self.where(row))

    def where(self, row: int) -> str:
        return f"{self._name}: image {row}"


def images_of_npz(path: Path, part: str) -> ImageSet | None:
    """The images of an array file: uint8 pixels and labels, a pair for each part, such as `train_images` and `train_labels`."""
    try:
        with zipfile.ZipFile(path) as file:
            total = sum(entry.file_size for entry in file.infolist())
        if total > MAX_BYTES:
            raise DataError(f"{path}: got {total / 2**30:.0f} GiB of arrays, expected {MAX_BYTES / 2**30:.0f} at most")
        with np.load(path, allow_pickle=False) as found:
            keys = [key for key in found.files if key not in CLASS_NAMES]
            names = next((found[key].tolist() for key in CLASS_NAMES if key in found.files), None)
            rows = rows_in_part(keys, part)
            arrays = None if rows is None else {keys[row]: found[keys[row]] for row in rows}
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as arrays without pickles ({one_line(error)})") from None
    if arrays is None:
        return None
    images = [array for array in arrays.values() if array.ndim >= 3]
    labels = [array.reshape(-1) for array in arrays.values() if array.ndim in (1, 2)]
    if len(images) != 1 or len(labels) != 1 or len(images[0]) != len(labels[0]) or labels[0].dtype.kind not in "iuU":
        shapes = listed([f"{key} {array.dtype}{array.shape}" for key, array in arrays.items()])
        raise DataError(f"{path}: got {shapes}, expected images (N, H, W) or (N, H, W, C) in uint8 and a label for each")
    reader = Pixels(str(path), images[0])
    if len(images[0]):
        reader.image(0)
    return labelled_set(str(path), labels[0].tolist(), reader, names if labels[0].dtype.kind != "U" else None)
