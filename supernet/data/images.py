"""Labelled images behind one name or one object: what `data` and `test_data` take.

- a folder or a .tar in ImageFolder layout, one folder a class, with or without train/ and val/ above the classes,
- a name of `supernet.data.embedded.EMBEDDED`, such as `digits` and `probes`, which need no download,
- a name of `timm.data.create_dataset`: `torch/cifar10`, `hfds/owner/set`. Only these are ever downloaded,
- in Python, a dataset of the caller's: any object of (image, target) with `classes`, see `supernet.data.own_dataset`.

An `ImageSet` is opened once and passed on. To another process it travels as its name, which is opened there once, or as the
caller's object.

Nothing of a folder or tar is unpickled, and no code of a Hugging Face set is run. Sets of torchvision are read as torchvision does
it: some, such as CIFAR, are pickles, which it downloads and checks against the digests of their publishers.

An image that cannot be read is passed over: in training another of its class and part takes its place, in evaluation it is left
out, always in the same way. Who reads it is told; more than a few are an error, see `supernet.data.unreadable`.

The training part is opened by `open_images`, the test part by `open_test_images` and by nothing else.
"""

from __future__ import annotations

import struct
import tarfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from space.errors import one_line
from space.limits import MIN_IMAGE_SIZE
from supernet.data.embedded import EMBEDDED
from supernet.data.own_dataset import OF_CALLER, Dataset, OwnImages, identity_of
from supernet.data.unreadable import DataError, Unreadable, UnreadableImage
from supernet.seeding import seed_of

TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("val", "valid", "validation", "test", "testing", "eval")
INDEXED_PREFIXES = ("torch", "hfds")
STREAMED_PREFIXES = ("hfids", "tfds", "wds")
MIN_TRAINING_IMAGES = 10
MAX_DEFAULT_SIZE = 224
SMALL_PIXELS = 64 * 64
CACHE_BYTES = 256 * 2**20
MAX_ASPECT = 100
"""Longer side of an image, in shorter ones: to bring a thread of pixels to a network's size would fill the memory."""

_EXPECTED = f"expected a path, {', '.join(EMBEDDED)}, or a set that timm can get, such as torch/cifar10"
_NOT_OPENED = (OSError, SyntaxError, ValueError, EOFError, struct.error, tarfile.TarError)


class Reader(Protocol):
    """Images by number."""

    def image(self, row: int) -> Image.Image: ...

    def where(self, row: int) -> str:
        """What a person calls the image, its file name for one."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images, read on demand.

    Args:
        source: as the user named it.
        class_names: in order of their labels.
        labels: (N,) int64.
        rows: (N,) numbers of the images in the reader.
        opened_by: the function here, and its arguments, that opens it again in another process; None where that is not by name.
        mirror: whether an image's mirror image has the same label; not so for digits.
        crop: whether the greater part of an image has the same label; not so where things are counted.
    """

    source: str
    class_names: tuple[str, ...]
    labels: np.ndarray
    rows: np.ndarray
    reader: Reader
    mirror: bool = True
    crop: bool = True
    opened_by: tuple[str, *tuple[Any, ...]] | None = None
    _decoded: dict[int, Image.Image] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def identity(self) -> str:
        """What a run's config calls the images: the name that they were opened by, or of a caller's dataset name, number, and digest."""
        return self.opened_by[1] if self.opened_by else identity_of(self.source, self.class_names, self.labels)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.opened_by is not None:
            return _opened_again, (self.opened_by, identity_of(self.source, self.class_names, self.labels))
        return ImageSet, (self.source, self.class_names, self.labels, self.rows, self.reader, self.mirror, self.crop)

    @property
    def in_chans(self) -> int:
        """Images of any mode are read as RGB."""
        return 3

    @cached_property
    def unreadable(self) -> Unreadable:
        """Where whoever reads notes what it could not read."""
        return Unreadable(self.source, self.class_names, self.labels)

    def read(self, index: int) -> Image.Image:
        """Decode an image as RGB; UnreadableImage names its file where that is damaged."""
        if index in self._decoded:
            return self._decoded[index]
        row = int(self.rows[index])
        try:
            image = self.reader.image(row).convert("RGB")
        except DataError:
            raise
        except Exception as error:  # Whatever a damaged file makes Pillow's decoders raise: their kinds are not documented.
            reason = "no image that Pillow knows" if isinstance(error, UnidentifiedImageError) else one_line(error) or type(error).__name__
            where = " ".join(self.reader.where(row).split())
            # The system's word is not the file's: it may be another one the next time, and results would depend on that.
            if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
                raise DataError(f"{where}: the image cannot be read ({reason})") from None
            raise UnreadableImage(where, reason) from None
        pixels = image.width * image.height
        # Decoding costs more than everything else done to a small image; Pillow keeps four bytes a pixel.
        if pixels <= SMALL_PIXELS and 4 * pixels * (len(self._decoded) + 1) <= CACHE_BYTES:
            self._decoded[index] = image
        return image

    def default_image_size(self) -> int:
        """The first readable image's shorter side, rounded up to a multiple of 32 px, within 32 and 224 px."""
        for index in range(len(self)):
            try:
                side = min(self.read(index).size)
            except UnreadableImage as error:
                self.unreadable.add({index: error.brief})
            else:
                return max(MIN_IMAGE_SIZE, min(MAX_DEFAULT_SIZE, -(-side // 32) * 32))
        raise DataError(f"{self.source}: got no image that can be read")


def open_images(source: str | Path | Dataset | ImageSet) -> ImageSet:
    """Open the training part of a source: what lies under train/, or all of it where there is no such folder, or in an object.

    What is open already comes back as it is.
    """
    if isinstance(source, ImageSet):
        return source
    if not isinstance(source, str | Path):
        return _checked(_owned(source))
    name = str(source)
    if name.startswith(OF_CALLER):
        raise DataError(f"{name}: was an object, which has no name to open it by; give it again as data")
    if name in EMBEDDED:
        images: ImageSet | None = _embedded(name, "train")
    else:
        images = _named(name, ("train",)) if _is_name(name) else _stored(Path(name), "train")
    if images is None:
        raise DataError(f"{name}: no images of a training part found")
    return replace(_checked(images), opened_by=(open_images.__name__, name))


def name_of_data(source: str | Path | Dataset | ImageSet) -> str:
    """What a run's config calls a source: `ImageSet.identity`."""
    return str(source) if isinstance(source, str | Path) else open_images(source).identity


def _checked(images: ImageSet) -> ImageSet:
    if images.num_classes < 2:
        found = f"got images of {images.num_classes} class"
        raise DataError(f"{images.source}: {found}, expected one folder a class and two classes at the least")
    if len(images) < MIN_TRAINING_IMAGES:
        raise DataError(f"{images.source}: got {len(images)} images, expected at least {MIN_TRAINING_IMAGES}")
    return images


def open_test_images(
    source: str | Path | Dataset | ImageSet, test_source: str | Path | Dataset | None, class_names: Sequence[str]
) -> ImageSet | None:
    """Open the test part, its labels numbered like `class_names`; None where the source has none and no other is named.

    The test part of a test source is what lies under val/, or all of it where there is no such folder, or all of an object. DataError
    where it holds other classes than the training part or is the training part.
    """
    training = source.identity if isinstance(source, ImageSet) and source.opened_by else source
    if test_source is not None and not isinstance(test_source, str | Path):
        dataset = training.reader.dataset if isinstance(training, ImageSet) and isinstance(training.reader, OwnImages) else training
        if test_source is dataset:
            raise DataError(f"{OwnImages(test_source).name}: got the training data as test data, expected other images")
        return _in_classes(_owned(test_source), training, class_names)
    if test_source is None and not isinstance(training, str | Path):
        return None
    name = str(test_source or training)
    images = _test_part(name, tuple(class_names), isinstance(training, str | Path) and Path(training).resolve() == Path(name).resolve())
    if images is None and test_source is not None:
        raise DataError(f"{name}: got the training data as test data, expected other images")
    return images and _in_classes(images, training, class_names)


def _test_part(name: str, class_names: tuple[str, ...], is_training_data: bool) -> ImageSet | None:
    """The test part of a source by name; none where it has none and is the training data, too."""
    if name in EMBEDDED:
        images: ImageSet | None = _embedded(name, "test")
    elif _is_name(name):
        images = _named(name, ("validation", "test"))
    else:
        images = _stored(Path(name), "test") or (None if is_training_data else _stored(Path(name), "all"))
    return images and replace(images, opened_by=(_reopened_test.__name__, name, class_names, is_training_data))


def _in_classes(images: ImageSet, training: object, class_names: Sequence[str]) -> ImageSet:
    unknown = [name for name in images.class_names if name not in class_names]
    if unknown:
        where = training if isinstance(training, str | Path) else "the training data"
        raise DataError(f"{images.source}: got images of {', '.join(map(repr, unknown[:5]))}, expected only classes of {where}")
    labels = np.array([class_names.index(name) for name in images.class_names])[images.labels]
    return replace(images, class_names=tuple(class_names), labels=labels)


def _reopened_test(name: str, class_names: tuple[str, ...], is_training_data: bool) -> ImageSet | None:
    images = _test_part(name, class_names, is_training_data)
    return images and _in_classes(images, name, class_names)


@dataclass(frozen=True, eq=False)
class Splits:
    """Disjoint parts of a training part, as numbers of its images.

    Args:
        train: weights are trained on these.
        search: subnets are judged on these.
        calibration: batch statistics are estimated from these.
    """

    train: np.ndarray
    search: np.ndarray
    calibration: np.ndarray


def split(images: ImageSet, seed: int, num_search: int | None = None, num_calibration: int | None = None) -> Splits:
    """Split a training part, every class in proportion; the same seed gives the same parts.

    Args:
        num_search: 20 % of the images, 2000 at the most, unless told otherwise.
        num_calibration: 10 % of the images, 512 at the most, unless told otherwise.
    """
    total = len(images)
    num_search = min(total // 5, 2000) if num_search is None else num_search
    num_calibration = min(total // 10, 512) if num_calibration is None else num_calibration
    if num_search < 0 or num_calibration < 0 or 2 * (num_search + num_calibration) > total:
        taken = f"{num_search} images to search and {num_calibration} to calibrate with"
        raise DataError(f"{images.source}: got {taken}, expected at most half of its {total}")
    rng = np.random.default_rng(seed_of("split", seed))
    order = rng.permutation(total)
    # An image's place among those of its class, as a fraction: any run of images sorted by it holds every class in
    # proportion. The last one of a class has 1, so that every class keeps an image to train with.
    place = np.empty(total)
    for label in range(images.num_classes):
        members = order[images.labels[order] == label]
        place[members] = np.arange(1, len(members) + 1) / max(len(members), 1)
    ranked = order[np.argsort(place[order], kind="stable")]
    search, calibration, train = np.split(ranked, [num_search, num_search + num_calibration])
    return Splits(np.sort(train), np.sort(search), np.sort(calibration))


_OPENERS: Mapping[str, Callable[..., ImageSet | None]] = {opener.__name__: opener for opener in (open_images, _reopened_test)}


@lru_cache(maxsize=4)
def _opened_again(opened_by: tuple[str, *tuple[Any, ...]], identity: str) -> ImageSet:
    """In another process, which lives as long as a command: opened once, however many jobs bring the set along."""
    images = _OPENERS[opened_by[0]](*opened_by[1:])
    if images is None or identity_of(images.source, images.class_names, images.labels) != identity:
        raise DataError(f"{opened_by[1]}: the images have changed since this run opened them; start it again")
    return images


class _Files:
    """What timm's readers of folders, tars and Hugging Face sets open."""

    def __init__(self, reader: Any, root: str) -> None:
        self._reader = reader
        self._root = root

    def image(self, row: int) -> Image.Image:
        with self._reader[row][0] as file, warnings.catch_warnings():
            # Pillow has words about what it can read all the same, and only words about images of 100 million pixels.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(file)
            if max(image.size) > MAX_ASPECT * min(image.size):
                raise ValueError(f"got {image.width}x{image.height} pixels, expected sides that differ by a factor of {MAX_ASPECT} at most")
            image.load()
            return image

    def where(self, row: int) -> str:
        return str(Path(self._root) / (self._reader.filename(row) or f"image {row}"))


class _Dataset:
    """A torchvision dataset."""

    def __init__(self, dataset: Any, name: str) -> None:
        self._dataset = dataset
        self._name = name

    def image(self, row: int) -> Image.Image:
        return self._dataset[row][0]

    def where(self, row: int) -> str:
        return f"{self._name}: image {row}"


class _Pixels:
    """Images in memory, (N, H, W) or (N, H, W, 3) uint8."""

    def __init__(self, name: str, pixels: np.ndarray) -> None:
        self._name = name
        self._pixels = pixels

    def image(self, row: int) -> Image.Image:
        return Image.fromarray(self._pixels[row])

    def where(self, row: int) -> str:
        return f"{self._name}: image {row}"


@lru_cache(maxsize=2)
def _embedded(name: str, part: str) -> ImageSet:
    embedded = EMBEDDED[name]()
    rows = np.flatnonzero(embedded.in_test == (part == "test"))
    reader = _Pixels(name, embedded.pixels)
    return ImageSet(name, embedded.class_names, embedded.labels[rows], rows, reader, mirror=False, crop=embedded.crop)


def _owned(dataset: Dataset) -> ImageSet:
    if not isinstance(dataset, Dataset):
        what = "an object of (image, target) by number with len() and classes"
        raise DataError(f"data: got {type(dataset).__name__}, expected a path, the name of a set, or {what}")
    reader = OwnImages(dataset)
    labels = reader.labels()
    return _image_set(reader.name, list(dataset.classes), labels, np.arange(len(labels)), reader, _may_be_mirrored(type(dataset).__name__))


def _may_be_mirrored(name: str) -> bool:
    """Mirrored letters and numbers are others, or none."""
    return not any(word in name.lower() for word in ("mnist", "svhn", "digits"))


def _is_name(source: str) -> bool:
    return source.split("/")[0].lower() in INDEXED_PREFIXES + STREAMED_PREFIXES and not Path(source).exists()


def _named(name: str, parts: tuple[str, ...]) -> ImageSet | None:
    """The first part of this name that a set of timm's has."""
    from timm.data import create_dataset

    prefix = name.split("/")[0].lower()
    if prefix in STREAMED_PREFIXES:
        raise DataError(f"{name}: got a streamed set, expected one whose images have numbers: {' or '.join(INDEXED_PREFIXES)}")
    root = str(Path(torch.hub.get_dir()).parent / "datasets") if prefix == "torch" else None
    reasons = []
    for part in parts:
        try:
            dataset = create_dataset(name, root=root, split=part, download=prefix == "torch")
        except (*_NOT_OPENED, RuntimeError, AssertionError, ImportError, TypeError) as error:
            reasons.append(" ".join(str(error).split())[:160])
            continue
        if prefix == "hfds":
            reader = dataset.reader
            names = sorted(reader.class_to_idx, key=reader.class_to_idx.__getitem__)
            return _image_set(name, names, np.array(list(reader.iter_targets())), np.arange(len(dataset)), _Files(reader, name))
        if not hasattr(dataset, "targets") or not hasattr(dataset, "classes"):
            raise DataError(f"{name}: got a set that does not list its labels, expected one with classes and targets")
        labels = np.asarray(dataset.targets)
        return _image_set(name, list(dataset.classes), labels, np.arange(len(labels)), _Dataset(dataset, name), _may_be_mirrored(name))
    raise DataError(f"{name}: cannot be opened ({reasons[0]}); {_EXPECTED}")


def _stored(path: Path, part: str) -> ImageSet | None:
    """A folder or tar: its part `train`, `test`, or `all`; None where it has no test part."""
    from timm.data.readers import create_reader

    if not path.exists():
        raise DataError(f"{path}: no such folder or tar; {_EXPECTED}")
    if path.is_dir():
        names = [name for name in TRAIN_NAMES if _holds_folders(path / name)]
        if names and part == "train":
            path = path / names[0]
        elif part == "test":
            names = [name for name in TEST_NAMES if _holds_folders(path / name)]
            if not names:
                return None
            path = path / names[0]
    elif path.suffix != ".tar":
        raise DataError(f"{path}: got a file, expected a folder or an uncompressed .tar")
    # A cached handle's position would be shared by the processes that load; timm's index beside big tars is a pickle.
    options: dict[str, Any] = {} if path.is_dir() else {"cache_tarfiles": False, "cache_tarinfo": False}
    try:
        reader = create_reader("", root=str(path), **options)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except tarfile.TarError as error:
        raise DataError(f"{path}: not a whole, uncompressed tar ({error}); copy or pack it again") from None
    except (RuntimeError, ValueError):
        raise DataError(f"{path}: got no images, expected a folder a class with images inside") from None
    in_tar = not path.is_dir()
    labels = np.asarray(reader.targets) if in_tar else np.array([label for _, label in reader.samples])
    by_name = reader.class_name_to_idx if in_tar else reader.class_to_idx
    rows = np.arange(len(labels))
    if in_tar and part != "all":
        above = [PurePosixPath(reader.filename(row)).parts[:-2] for row in rows]
        rows = _rows_of_part(above, part)
    names = sorted(by_name, key=by_name.__getitem__)
    return _image_set(str(path), names, labels[rows], rows, _Files(reader, str(path))) if len(rows) else None


def _holds_folders(path: Path) -> bool:
    return path.is_dir() and any(child.is_dir() for child in path.iterdir())


def _rows_of_part(above: Sequence[tuple[str, ...]], part: str) -> np.ndarray:
    """Numbers of the images under the folder of a part, given the folders above each image's class."""
    for name in TRAIN_NAMES if part == "train" else TEST_NAMES:
        rows = np.flatnonzero([name in folders for folders in above])
        if len(rows):
            return rows
    return np.arange(len(above)) if part == "train" else np.arange(0)


def _image_set(source: str, names: Sequence[str], labels: np.ndarray, rows: np.ndarray, reader: Reader, mirror: bool = True) -> ImageSet:
    """Number the classes that occur, in the order of `names`."""
    present, labels = np.unique(labels, return_inverse=True)
    return ImageSet(source, tuple(names[label] for label in present), labels.astype(np.int64), rows, reader, mirror)
