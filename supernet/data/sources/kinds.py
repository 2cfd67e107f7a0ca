"""The kinds of sources, one function each: which files, tables, names or objects a part of a data set comes from."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from space.errors import one_line
from supernet.data.embedded import EMBEDDED
from supernet.data.files import Listing, is_packed, list_folder, list_tars
from supernet.data.image_set import SEGMENTATION, ImageSet
from supernet.data.labelled_set import labelled_set
from supernet.data.own_dataset import Dataset, OwnImages
from supernet.data.segmentation import scenes
from supernet.data.segmentation.class_names import ClassNames
from supernet.data.segmentation.layouts import has_masks, unwrapped
from supernet.data.segmentation.masks import MaskArray, OwnMasks, is_mask
from supernet.data.segmentation.opening import images_with_mask_files, images_with_masks
from supernet.data.sources.arrays import Pixels, images_of_npz
from supernet.data.sources.class_folders import images_in_class_folders
from supernet.data.sources.labelled_files import images_of_csv, images_of_shards, is_sharded
from supernet.data.sources.parts import TEST, TRAIN
from supernet.data.sources.tables import SUFFIXES as TABLES
from supernet.data.sources.tables import images_of_hugging_face, images_of_tables
from supernet.data.target_options import AS_FOUND, TargetOptions
from supernet.data.unreadable import DataError

STREAMED_PREFIXES = ("hfids", "tfds", "wds")
PREFIXES = ("torch", "hfds", *STREAMED_PREFIXES)
SCENES = "scenes"
"""The embedded set of images with masks."""

_EXPECTED = f"expected a path, {', '.join(EMBEDDED)}, {SCENES}, or the name of a set, such as torch/cifar10 or hfds/owner/set"
_NOT_OPENED = (OSError, SyntaxError, ValueError, EOFError, struct.error, RuntimeError, AssertionError, ImportError, TypeError)


def part_of(name: str, part: str, targets: TargetOptions, class_names: Sequence[str] | None = None) -> ImageSet | None:
    """The part `TRAIN`, `TEST` or `ALL` of a source by name; None where it has no test part.

    Args:
        class_names: those of the training part, if this is another part.
    """
    if name in EMBEDDED:
        return _embedded(name, part)
    if name == SCENES:
        return _scenes(part)
    if name.split("/")[0].lower() in PREFIXES and not Path(name).exists():
        return _named(name, ("train",) if part == TRAIN else ("validation", "test"), targets, class_names)
    return _stored(Path(name), part, targets, class_names)




def _stored(path: Path, part: str, targets: TargetOptions, class_names: Sequence[str] | None) -> ImageSet | None:
    """A folder or a file."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; {_EXPECTED}")
    try:
        if path.is_dir():
            return _folder(path, part, targets, class_names)
        if path.suffix.lower() not in (*_FILES, ".tar", *TABLES):
            expected = f"expected a folder or an uncompressed .tar, {', '.join((*_FILES, *TABLES))}"
            raise DataError(f"{path}: got another kind of file, {expected}{'; unpack it' if is_packed(path) else ''}")
        if path.suffix.lower() == ".tar":
            return _tar(path, part, targets, class_names)
        if path.suffix.lower() in TABLES:
            return images_of_tables(str(path), [path], part, targets, class_names)
        return _FILES[path.suffix.lower()](path, part)
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from None


def _folder(path: Path, part: str, targets: TargetOptions, class_names: Sequence[str] | None) -> ImageSet | None:
    listing = list_folder(path)
    if _is_masked(listing, targets):
        return images_with_mask_files(unwrapped(listing), part, str(path), targets, class_names)
    if not listing.images:
        others = sorted(listing.below("").others)
        # `datasets` leaves results of its own computations beside a set's files.
        tables = [Path(file.file) for file in others if file.suffix in TABLES and not Path(file.file).name.startswith("cache-")]
        if tables:
            return images_of_tables(str(path), tables, part, targets, class_names)
        tars = [file for file in others if file.suffix == ".tar"]
        if tars:
            shards = list_tars([(file.path.removesuffix(".tar"), file.file) for file in tars])
            return (images_of_shards if is_sharded(shards) else images_in_class_folders)(shards, part, str(path))
    return images_in_class_folders(listing, part, str(path))


def _tar(path: Path, part: str, targets: TargetOptions, class_names: Sequence[str] | None) -> ImageSet | None:
    listing = list_tars([("", str(path))])
    if _is_masked(listing, targets):
        return images_with_mask_files(unwrapped(listing), part, str(path), targets, class_names)
    if is_sharded(listing):
        return images_of_shards(listing, part, str(path))
    return images_in_class_folders(listing, part, str(path), is_tar=True)


def _is_masked(listing: Listing, targets: TargetOptions) -> bool:
    """Whether files are read as images and masks: if they lie like such, unless another task is asked for."""
    if targets.task == SEGMENTATION:
        # Without such a layout this ends in an error that says which layouts there are.
        return bool(listing.images)
    return targets.task is None and has_masks(unwrapped(listing))


_FILES: Mapping[str, Callable[[Path, str], ImageSet | None]] = {
    ".csv": images_of_csv,
    ".tsv": images_of_csv,
    ".npz": images_of_npz,
}


@lru_cache(maxsize=2)
def _embedded(name: str, part: str) -> ImageSet:
    embedded = EMBEDDED[name]()
    rows = np.flatnonzero(embedded.in_test == (part == TEST))
    reader = Pixels(name, embedded.pixels)
    return ImageSet(name, embedded.class_names, embedded.labels[rows], rows, reader, mirror=False, crop=embedded.crop)


@lru_cache(maxsize=1)
def _drawn() -> scenes.Scenes:
    return scenes.draw_scenes()


@lru_cache(maxsize=2)
def _scenes(part: str) -> ImageSet:
    drawn = _drawn()
    rows = slice(-scenes.IN_TEST, None) if part == TEST else slice(-scenes.IN_TEST)
    pixels, masks = drawn.pixels[rows], MaskArray(SCENES, drawn.masks[rows])
    return images_with_masks(SCENES, Pixels(SCENES, pixels), masks, len(pixels), AS_FOUND, None, ClassNames(scenes.CLASS_NAMES))


def own_images(dataset: Any, targets: TargetOptions) -> ImageSet:
    if not isinstance(dataset, Dataset):
        what = "an object of (image, target) by number with len() and classes"
        raise DataError(f"data: got {type(dataset).__name__}, expected a path, the name of a set, or {what}")
    if not hasattr(dataset, "targets") and len(dataset) and is_mask(dataset[0][1]):
        reader, known = OwnImages(dataset), ClassNames(tuple(map(str, dataset.classes)))
        reader.image(0)
        return images_with_masks(reader.name, reader, OwnMasks(reader), len(dataset), targets, None, known)
    return _of_object(OwnImages(dataset))


def _of_object(reader: OwnImages) -> ImageSet:
    return labelled_set(reader.name, reader.labels(), reader, list(reader.dataset.classes))


def _named(name: str, parts: tuple[str, ...], targets: TargetOptions, class_names: Sequence[str] | None) -> ImageSet:
    """The first part of this name that a set has which is downloaded."""
    prefix = name.split("/")[0].lower()
    if prefix in STREAMED_PREFIXES:
        raise DataError(f"{name}: got a streamed set, expected torch/..., hfds/..., or a folder of WebDataset shards")
    if prefix == "hfds":
        return images_of_hugging_face(name, parts, targets, class_names)
    from timm.data import create_dataset

    root = str(Path(torch.hub.get_dir()).parent / "datasets")
    reasons = []
    for part in parts:
        try:
            dataset = create_dataset(name, root=root, split=part, download=True)
        except _NOT_OPENED as error:
            reasons.append(one_line(error))
            continue
        if not hasattr(dataset, "targets") or not isinstance(dataset, Dataset):
            raise DataError(f"{name}: got a set that does not list its labels, expected one with classes and targets")
        return _of_object(OwnImages(dataset, name))
    raise DataError(f"{name}: cannot be opened ({reasons[0]}); {_EXPECTED}")
