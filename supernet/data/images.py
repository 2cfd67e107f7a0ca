"""Labelled images behind one name or one object: what `data` and `test_data` take.

- a folder or an uncompressed .tar with a folder a class, with or without train/ and val/ above: `supernet.data.class_folders`,
- WebDataset shards, or a .csv of paths and classes: `supernet.data.labelled_files`,
- Parquet and Arrow files, or `hfds/owner/set` from Hugging Face: `supernet.data.tables`; a .npz of uint8 pixels: `supernet.data.arrays`,
- a name of `supernet.data.embedded.EMBEDDED`, such as `digits`, which needs no download,
- a set of torchvision's, such as `torch/cifar10`, by way of timm,
- in Python, any object of (image, target) with `classes`: `supernet.data.own_dataset`.

Only `torch/` and `hfds/` sets are ever downloaded. No file is unpickled but those of torchvision's sets, such as CIFAR, which it
checks against the digests of their publishers.

An `ImageSet` is opened once and passed on; to another process it travels as its name, or as the caller's object. The training part is
opened by `open_images`, the test part by `open_test_images` and by nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from space.errors import one_line
from supernet.data.arrays import Pixels, images_of_npz
from supernet.data.class_folders import images_in_class_folders
from supernet.data.embedded import EMBEDDED
from supernet.data.files import is_packed, list_folder, list_tars
from supernet.data.image_set import ImageSet, labelled_set
from supernet.data.labelled_files import images_of_csv, images_of_shards, is_sharded
from supernet.data.own_dataset import OF_CALLER, Dataset, OwnImages
from supernet.data.parts import ALL, TEST, TRAIN
from supernet.data.tables import SUFFIXES as TABLES
from supernet.data.tables import images_of_hugging_face, images_of_tables
from supernet.data.unreadable import DataError

STREAMED_PREFIXES = ("hfids", "tfds", "wds")
PREFIXES = ("torch", "hfds", *STREAMED_PREFIXES)
MIN_TRAINING_IMAGES = 10

_EXPECTED = f"expected a path, {', '.join(EMBEDDED)}, or the name of a set, such as torch/cifar10 or hfds/owner/set"
_NOT_OPENED = (OSError, SyntaxError, ValueError, EOFError, struct.error, RuntimeError, AssertionError, ImportError, TypeError)

Source = str | Path | Dataset | ImageSet


def open_images(source: Source) -> ImageSet:
    """Open the training part of a source: what lies under train/, or all of it where there is no such folder, or in an object.

    What is open already comes back as it is.
    """
    if isinstance(source, ImageSet):
        return source
    if isinstance(source, str | Path):
        return _training_part(str(source)).inspected()
    return _checked(_owned(source))


def open_test_images(source: Source, test_source: str | Path | Dataset | None, class_names: Sequence[str]) -> ImageSet | None:
    """Open the test part, its labels numbered like `class_names`; None where the source has none and no other is named.

    The test part of a test source is what lies under val/, or all of it where there is no such folder, or all of an object. DataError
    where it holds other classes than the training part or is the training part.
    """
    training = source.identity if isinstance(source, ImageSet) and source.reopen else source
    if test_source is not None and not isinstance(test_source, str | Path):
        dataset = training.reader.dataset if isinstance(training, ImageSet) and isinstance(training.reader, OwnImages) else training
        if test_source is dataset:
            raise DataError(f"{OwnImages(test_source).name}: got the training data as test data, expected other images")
        return _in_classes(_owned(test_source), class_names, "the training data")
    if test_source is None and not isinstance(training, str | Path):
        return None
    name = str(test_source or training)
    is_training_data = isinstance(training, str | Path) and Path(training).resolve() == Path(name).resolve()
    where = str(training) if isinstance(training, str | Path) else "the training data"
    images = _test_part(name, tuple(class_names), is_training_data, where)
    if images is None and test_source is not None:
        raise DataError(f"{name}: got the training data as test data, expected other images")
    return images and images.inspected()


def name_of_data(source: Source) -> str:
    """What a run's config calls a source: `ImageSet.identity`."""
    return str(source) if isinstance(source, str | Path) else open_images(source).identity


def _training_part(name: str) -> ImageSet:
    if name.startswith(OF_CALLER):
        raise DataError(f"{name}: was an object, which has no name to open it by; give it again as data")
    images = _part(name, TRAIN)
    if images is None:
        raise DataError(f"{name}: no images of a training part found")
    return replace(_checked(images), reopen=(_training_part, name))


def _test_part(name: str, class_names: tuple[str, ...], is_training_data: bool, training: str) -> ImageSet | None:
    """The test part of a source by name; None where it has none and is the training data, too."""
    images = _part(name, TEST)
    if images is None and not is_training_data and name not in EMBEDDED:
        images = _part(name, ALL)
    if images is None:
        return None
    return replace(_in_classes(images, class_names, training), reopen=(_test_part, name, class_names, is_training_data, training))


def _part(name: str, part: str) -> ImageSet | None:
    """The part `TRAIN`, `TEST` or `ALL` of a source by name; None where it has no test part."""
    if name in EMBEDDED:
        return _embedded(name, part)
    if name.split("/")[0].lower() in PREFIXES and not Path(name).exists():
        return _named(name, ("train",) if part == TRAIN else ("validation", "test"))
    return _stored(Path(name), part)


def _checked(images: ImageSet) -> ImageSet:
    if images.num_classes < 2:
        found = f"got images of {images.num_classes} class"
        raise DataError(f"{images.source}: {found}, expected one folder a class and two classes at the least")
    if len(images) < MIN_TRAINING_IMAGES:
        raise DataError(f"{images.source}: got {len(images)} images, expected at least {MIN_TRAINING_IMAGES}")
    return images


def _in_classes(images: ImageSet, class_names: Sequence[str], training: str) -> ImageSet:
    unknown = [name for name in images.class_names if name not in class_names]
    if unknown:
        raise DataError(f"{images.source}: got images of {', '.join(map(repr, unknown[:5]))}, expected only classes of {training}")
    labels = np.array([class_names.index(name) for name in images.class_names])[images.labels]
    return replace(images, class_names=tuple(class_names), labels=labels)


# One function a kind of source -------------------------------------------------------------------------------------------------------


def _stored(path: Path, part: str) -> ImageSet | None:
    """A folder or a file."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; {_EXPECTED}")
    try:
        if path.is_dir():
            return _folder(path, part)
        if path.suffix.lower() not in _FILES:
            expected = f"expected a folder or an uncompressed .tar, {', '.join(list(_FILES)[1:])}"
            raise DataError(f"{path}: got another kind of file, {expected}{'; unpack it' if is_packed(path) else ''}")
        return _FILES[path.suffix.lower()](path, part)
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from None


def _folder(path: Path, part: str) -> ImageSet | None:
    listing = list_folder(path)
    if not listing.images:
        others = sorted(listing.below("").others)
        # `datasets` leaves results of its own computations beside a set's files.
        tables = [Path(file.file) for file in others if file.suffix in TABLES and not Path(file.file).name.startswith("cache-")]
        if tables:
            return images_of_tables(str(path), tables, part)
        tars = [file for file in others if file.suffix == ".tar"]
        if tars:
            shards = list_tars([(file.path.removesuffix(".tar"), file.file) for file in tars])
            return (images_of_shards if is_sharded(shards) else images_in_class_folders)(shards, part, str(path))
    return images_in_class_folders(listing, part, str(path))


def _tar(path: Path, part: str) -> ImageSet | None:
    listing = list_tars([("", str(path))])
    if is_sharded(listing):
        return images_of_shards(listing, part, str(path))
    return images_in_class_folders(listing, part, str(path), is_tar=True)


_FILES: Mapping[str, Callable[[Path, str], ImageSet | None]] = {
    ".tar": _tar,
    ".csv": images_of_csv,
    ".tsv": images_of_csv,
    ".npz": images_of_npz,
    **{suffix: lambda path, part: images_of_tables(str(path), [path], part) for suffix in TABLES},
}


@lru_cache(maxsize=2)
def _embedded(name: str, part: str) -> ImageSet:
    embedded = EMBEDDED[name]()
    rows = np.flatnonzero(embedded.in_test == (part == TEST))
    reader = Pixels(name, embedded.pixels)
    return ImageSet(name, embedded.class_names, embedded.labels[rows], rows, reader, mirror=False, crop=embedded.crop)


def _owned(dataset: Any) -> ImageSet:
    if not isinstance(dataset, Dataset):
        what = "an object of (image, target) by number with len() and classes"
        raise DataError(f"data: got {type(dataset).__name__}, expected a path, the name of a set, or {what}")
    return _of_object(OwnImages(dataset))


def _of_object(reader: OwnImages) -> ImageSet:
    return labelled_set(reader.name, reader.labels(), reader, list(reader.dataset.classes))


def _named(name: str, parts: tuple[str, ...]) -> ImageSet:
    """The first part of this name that a set has which is downloaded."""
    prefix = name.split("/")[0].lower()
    if prefix in STREAMED_PREFIXES:
        raise DataError(f"{name}: got a streamed set, expected torch/..., hfds/..., or a folder of WebDataset shards")
    if prefix == "hfds":
        return images_of_hugging_face(name, parts)
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
