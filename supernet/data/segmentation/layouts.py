"""Which files are images and masks, and which belong together: the layouts of ADE20K, Pascal VOC and Cityscapes.

    images/training/a.jpg             annotations/training/a.png                  ADE20K's; also train, val, labels/ or masks/
    JPEGImages/a.jpg                  SegmentationClass/a.png                     VOC's; ImageSets/Segmentation/train.txt lists `a`
    leftImg8bit/train/city/a_leftImg8bit.png   gtFine/train/city/a_gtFine_labelTrainIds.png   Cityscapes'; also ..._labelIds.png

Further folders may lie below a split. What is hidden is passed over, as with classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from supernet.data.files import File, Listing
from supernet.data.labelled_set import natural_order
from supernet.data.segmentation.masks import ClassTable
from supernet.data.sources.parts import ALL, TEST, TEST_NAMES, TRAIN, TRAIN_NAMES
from supernet.data.target_options import VOID
from supernet.data.unreadable import DataError, listed, printable

IMAGES, ANNOTATIONS = ("images", "imgs"), ("annotations", "labels", "masks")
VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table", "dog", "horse",
    "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
)  # fmt: skip
CITYSCAPES_CLASSES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person",
    "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The `labelIds` of these classes, in their order; the other ids up to 33 are not evaluated (cityscapesScripts, labels.py)."""
_ORIGINAL, _TRAIN_IDS, _LABEL_IDS = "_leftImg8bit", "_gtFine_labelTrainIds", "_gtFine_labelIds"


@dataclass(frozen=True, eq=False)
class Pairs:
    """The images and masks of one part of a source.

    Args:
        class_names: those that belong to the layout; empty where a file has to tell them.
        table: of the masks' numbers, where the layout settles it.
        remarks: what was passed over, a line each.
    """

    images: Sequence[File]
    masks: Sequence[File]
    class_names: tuple[str, ...] = ()
    table: ClassTable | None = None
    remarks: tuple[str, ...] = ()


def has_masks(listing: Listing) -> bool:
    """Whether the files lie as in one of the layouts."""
    tops = _tops(listing)
    return any(found(tops) for found, _ in _LAYOUTS)


def unwrapped(listing: Listing) -> Listing:
    """The files without a folder around all others, such as `VOCdevkit/VOC2012/`."""
    while len(tops := _tops(listing)) == 1 and not has_masks(listing):
        (top,) = tops.values()
        listing = listing.below(f"{top}/")
    return listing


def pairs_in(listing: Listing, part: str, source: str) -> Pairs | None:
    """The images and masks of a part, `TRAIN`, `TEST` or `ALL`; None where there is no test part.

    Raises:
        DataError: the files lie as in none of the layouts, or an image has no mask.
    """
    for found, read in _LAYOUTS:
        if found(_tops(listing)):
            return read(listing, part, source)
    expected = "images/training and annotations/training, JPEGImages and SegmentationClass, or leftImg8bit and gtFine"
    raise DataError(f"{source}: got no folders of images and masks, expected {expected}")


def _tops(listing: Listing) -> dict[str, str]:
    """Folders at the top by their names in lower case."""
    return {path.lower(): path for path in sorted(listing.folders, reverse=True) if "/" not in path}


def _folder(tops: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((tops[name] for name in names if name in tops), None)


def _is_ade20k(tops: Mapping[str, str]) -> bool:
    return _folder(tops, IMAGES) is not None and _folder(tops, ANNOTATIONS) is not None


def _ade20k(listing: Listing, part: str, source: str) -> Pairs | None:
    images, masks = (_folder(_tops(listing), names) for names in (IMAGES, ANNOTATIONS))
    folders = _split_folders(listing.below(f"{images}/"), part, f"{source}/{images}")
    if folders is None:
        return None
    of_masks = listing.below(f"{masks}/")
    mask_tops = _tops(of_masks)
    chosen: list[File] = []
    found: dict[str, File] = {}
    for folder in folders:
        chosen += listing.below(f"{images}/{folder}").images
        # An image without a split's folder has its mask without one, too; train/ and training/ are one name.
        same = next((mask_tops[name] for name in _alike(folder) if name in mask_tops), folder.rstrip("/")) if folder else ""
        found |= _by_stem(of_masks.below(f"{same}/" if same else "").images)
    return _matched(chosen, lambda file: found.get(_stem(file.path)), f"{source}/{masks}", source)


def _alike(folder: str) -> tuple[str, ...]:
    name = folder.rstrip("/").lower()
    return (name, *(TRAIN_NAMES if name in TRAIN_NAMES else TEST_NAMES if name in TEST_NAMES else ()))


def _split_folders(listing: Listing, part: str, where: str) -> list[str] | None:
    """The folders of a part, with `/` at their ends, or "" for all files; None where there is no test part."""
    tops = _tops(listing)
    train, test = ([tops[name] for name in names if name in tops] for names in (TRAIN_NAMES, TEST_NAMES))
    if part == TEST:
        return [f"{test[0]}/"] if test else None
    if part == ALL:
        return [""]
    if not train and test:
        raise DataError(f"{where}: got {listed(test)} without train, expected a training part")
    return [f"{train[0]}/"] if train else [""]


def _is_voc(tops: Mapping[str, str]) -> bool:
    return {"jpegimages", "segmentationclass"} <= tops.keys()


def _voc(listing: Listing, part: str, source: str) -> Pairs | None:
    tops = _tops(listing)
    images, masks = tops["jpegimages"], tops["segmentationclass"]
    by_stem, found = _by_stem(listing.below(f"{images}/").images), _by_stem(listing.below(f"{masks}/").images)
    folder = "ImageSets/Segmentation/"
    lists = {_stem(file.path): file for file in listing.others if file.path.startswith(folder) and file.suffix == ".txt"}
    wanted = {TRAIN: TRAIN_NAMES, TEST: TEST_NAMES, ALL: ("trainval",)}[part]
    chosen = next((lists[folder + name] for name in wanted if folder + name in lists), None)
    if chosen is None:
        if part == TEST:
            return None
        if part == TRAIN and lists:
            raise DataError(f"{source}: got {listed(sorted(lists))} without {folder}train.txt, expected a training part")
        # Images without masks are for detection.
        names = sorted(found.keys() & by_stem.keys(), key=natural_order)
        where = f"{source}/{masks}"
    else:
        with chosen.open() as content:
            names = content.read().decode("utf-8", "replace").split()
        where = chosen.where
        absent = [name for name in names if name not in by_stem]
        if absent:
            raise DataError(f"{where}: got {printable(absent[0])!r:.60}, expected the name of an image in {images}/")
    return _matched([by_stem[name] for name in names], lambda file: found.get(_stem(file.path)), f"{source}/{masks}", source, VOC_CLASSES)


def _is_cityscapes(tops: Mapping[str, str]) -> bool:
    return {"leftimg8bit", "gtfine"} <= tops.keys()


def _cityscapes(listing: Listing, part: str, source: str) -> Pairs | None:
    tops = _tops(listing)
    images, masks = tops["leftimg8bit"], tops["gtfine"]
    folders = _split_folders(listing.below(f"{images}/"), part, f"{source}/{images}")
    if folders is None:
        return None
    chosen: list[File] = []
    of_part: dict[str, File] = {}
    for folder in folders:
        chosen += listing.below(f"{images}/{folder}").images
        of_part |= _by_stem(listing.below(f"{masks}/{folder}").images)
    has_train_ids = any(stem.endswith(_TRAIN_IDS) for stem in of_part)
    end = _TRAIN_IDS if has_train_ids else _LABEL_IDS

    def mask_of(image: File) -> File | None:
        return of_part.get(_stem(image.path).removesuffix(_ORIGINAL) + end)

    table = None
    if not has_train_ids:
        classes = np.full(256, VOID, dtype=np.uint8)
        classes[34:VOID] = 254
        classes[list(CITYSCAPES_IDS)] = np.arange(len(CITYSCAPES_IDS))
        table = ClassTable(classes, {}, "the labelIds of Cityscapes, 0 to 33")
    return _matched(chosen, mask_of, f"{source}/{masks}", source, CITYSCAPES_CLASSES, table)


_LAYOUTS: Sequence[tuple[Callable[[Mapping[str, str]], bool], Callable[[Listing, str, str], Pairs | None]]] = (
    (_is_cityscapes, _cityscapes),
    (_is_voc, _voc),
    (_is_ade20k, _ade20k),
)


def _matched(
    images: Sequence[File], mask_of: Callable[[File], File | None], masks: str, source: str, class_names: tuple[str, ...] = (),
    table: ClassTable | None = None,
) -> Pairs:  # fmt: skip
    """Every image with its mask; DataError where one has none."""
    images = sorted(images, key=lambda file: natural_order(file.path))
    if not images:
        raise DataError(f"{source}: got no images beside the masks in {masks}, expected an image for each mask")
    found = [mask_of(image) for image in images]
    without = [printable(image.where) for image, mask in zip(images, found, strict=True) if mask is None]
    if without:
        raise DataError(f"{source}: got {len(without)} of {len(images)} images without a mask in {masks}: {listed(without)}")
    return Pairs(images, [mask for mask in found if mask is not None], class_names, table, tuple(_twice(images)))


def _twice(images: Sequence[File]) -> Iterator[str]:
    stems = [_stem(file.path) for file in images]
    if len(set(stems)) < len(stems):
        yield f"images of one name and different suffixes share a mask: {len(stems) - len(set(stems))}"


def _by_stem(files: Sequence[File]) -> Mapping[str, File]:
    return {_stem(file.path): file for file in files}


def _stem(path: str) -> str:
    """A path without its suffix."""
    return str(PurePosixPath(path).with_suffix(""))
