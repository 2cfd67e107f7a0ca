"""Labelled images behind one name or one object: what `data` and `test_data` take.

- a folder or an uncompressed .tar with a folder a class, with or without train/ and val/ above (`class_folders`),
- WebDataset shards, or a .csv of paths and classes (`labelled_files`),
- Parquet and Arrow files, or `hfds/owner/set` from Hugging Face (`tables`); a .npz of uint8 pixels (`arrays`),
- a name of `supernet.data.embedded.EMBEDDED`, such as `digits`, which needs no download,
- a set of torchvision's, such as `torch/cifar10`, by way of timm,
- in Python, any object of (image, target) with `classes`: `supernet.data.own_dataset`.

Images with masks come from folders as ADE20K, Pascal VOC and Cityscapes have them (`supernet.data.segmentation.layouts`), from tables
with a column of masks, from objects of (image, mask), and from the embedded `scenes`.

The files named in brackets are in `supernet.data.sources`.

Only `torch/` and `hfds/` sets are ever downloaded. No file is unpickled but those of torchvision's sets, such as CIFAR, which it
checks against the digests of their publishers.

An `ImageSet` is opened once and passed on; to another process it travels as its name, or as the caller's object. The training part is
opened by `open_images`, the test part by `open_test_images` and by nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from supernet.data.embedded import EMBEDDED
from supernet.data.image_set import CLASSIFICATION, ImageSet
from supernet.data.own_dataset import OF_CALLER, Dataset, OwnImages
from supernet.data.segmentation.masked_images import MaskedImages
from supernet.data.sources.kinds import SCENES, own_images, part_of
from supernet.data.sources.parts import ALL, TEST, TRAIN
from supernet.data.target_options import AS_FOUND, TargetOptions
from supernet.data.unreadable import DataError

MIN_TRAINING_IMAGES = 10

Source = str | Path | Dataset | ImageSet


def open_images(source: Source, targets: TargetOptions = AS_FOUND) -> ImageSet:
    """Open the training part of a source: what lies under train/, or all of it where there is no such folder, or in an object.

    What is open already comes back as it is.

    Raises:
        DataError: there is no such source, it is damaged, or its targets are not for the task that the options name.
    """
    if isinstance(source, ImageSet):
        return source
    if isinstance(source, str | Path):
        return _training_part(str(source), targets).inspected()
    return _for_task(_checked(own_images(source, targets)), targets)


def open_test_images(source: Source, test_source: str | Path | Dataset | None, class_names: Sequence[str]) -> ImageSet | None:
    """Open the test part, its labels numbered like `class_names`; None where the source has none and no other is named.

    The test part of a test source is what lies under val/, or all of it where there is no such folder, or all of an object. DataError
    where it holds other classes than the training part or is the training part. Its targets are read as those of an open training part.
    """
    targets = source.targets if isinstance(source, ImageSet) else AS_FOUND
    training = source.identity if isinstance(source, ImageSet) and source.reopen else source
    if test_source is not None and not isinstance(test_source, str | Path):
        dataset = training.reader.dataset if isinstance(training, ImageSet) and isinstance(training.reader, OwnImages) else training
        if test_source is dataset:
            raise DataError(f"{OwnImages(test_source).name}: got the training data as test data, expected other images")
        return _in_classes(own_images(test_source, targets), class_names, "the training data")
    if test_source is None and not isinstance(training, str | Path):
        return None
    name = str(test_source or training)
    is_training_data = isinstance(training, str | Path) and Path(training).resolve() == Path(name).resolve()
    where = str(training) if isinstance(training, str | Path) else "the training data"
    images = _test_part(name, tuple(class_names), is_training_data, where, targets)
    if images is None and test_source is not None:
        raise DataError(f"{name}: got the training data as test data, expected other images")
    return images and images.inspected()


def name_of_data(source: Source) -> str:
    """What a run's config calls a source: `ImageSet.identity`."""
    return str(source) if isinstance(source, str | Path) else open_images(source).identity


def _training_part(name: str, targets: TargetOptions = AS_FOUND) -> ImageSet:
    if name.startswith(OF_CALLER):
        raise DataError(f"{name}: was an object, which has no name to open it by; give it again as data")
    images = part_of(name, TRAIN, targets)
    if images is None:
        raise DataError(f"{name}: no images of a training part found")
    return replace(_for_task(_checked(images), targets), reopen=(_training_part, name, targets))


def _test_part(
    name: str, class_names: tuple[str, ...], is_training_data: bool, training: str, targets: TargetOptions = AS_FOUND
) -> ImageSet | None:
    """The test part of a source by name; None where it has none and is the training data, too."""
    images = part_of(name, TEST, targets, class_names)
    if images is None and not is_training_data and name not in (*EMBEDDED, SCENES):
        images = part_of(name, ALL, targets, class_names)
    if images is None:
        return None
    reopen = (_test_part, name, class_names, is_training_data, training, targets)
    return replace(_in_classes(images, class_names, training), reopen=reopen)


def _checked(images: ImageSet) -> ImageSet:
    if images.num_classes < 2:
        found = f"got images of {images.num_classes} class"
        how = "masks of" if isinstance(images, MaskedImages) else "one folder a class and"
        raise DataError(f"{images.source}: {found}, expected {how} two classes at the least")
    if len(images) < MIN_TRAINING_IMAGES:
        raise DataError(f"{images.source}: got {len(images)} images, expected at least {MIN_TRAINING_IMAGES}")
    return images


def _for_task(images: ImageSet, targets: TargetOptions) -> ImageSet:
    """The images, which remember the options; DataError where these do not fit them."""
    if targets.task not in (None, images.task):
        raise DataError(f"{images.source}: got images for {images.task}, expected some for {targets.task}")
    if targets.of_masks and images.task == CLASSIFICATION:
        raise DataError(f"{next(iter(targets.of_masks))}: has no effect on {images.source}, whose images have a class each; leave it out")
    return replace(images, targets=targets)


def _in_classes(images: ImageSet, class_names: Sequence[str], training: str) -> ImageSet:
    if isinstance(images, MaskedImages):
        if images.class_names != tuple(class_names):
            raise DataError(f"{images.source}: got masks of other classes than {training}, expected the same in the same order")
        return images
    unknown = [name for name in images.class_names if name not in class_names]
    if unknown:
        raise DataError(f"{images.source}: got images of {', '.join(map(repr, unknown[:5]))}, expected only classes of {training}")
    labels = np.array([class_names.index(name) for name in images.class_names])[images.labels]
    return replace(images, class_names=tuple(class_names), labels=labels)
