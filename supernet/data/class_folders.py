"""The rule that makes classes and images of files, one for folders and for tars.

    train/cat/a.jpg             an image of the class cat
    train/cat/2023/b.png        another one: the class is the first folder below the split
    train/.cache/c.png          passed over, as all that is hidden
    train/sheet.png             passed over: beside the class folders
    val/cat/d.jpg               of the test part
    unlabelled/e.jpg            passed over: beside train/

Without `train/` the folders at the top are the classes. What is passed over is told of; a class folder without an image is an error.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from supernet.data.files import File, Files, Listing
from supernet.data.image_set import ImageSet, labelled_set, natural_order
from supernet.data.parts import ALL, TEST, TEST_NAMES, TRAIN, TRAIN_NAMES
from supernet.data.unreadable import DataError, listed, printable


def images_in_class_folders(listing: Listing, part: str, source: str, is_tar: bool = False) -> ImageSet | None:
    """The images of a part, `TRAIN`, `TEST` or `ALL`; None where there is no test part.

    Args:
        is_tar: a tar's only folder at the top, such as `set/` in `set/train/...`, is left out of all paths.
    """
    tops = _Top.of(listing.images)
    while is_tar and _is_outer(name := next(iter(tops), ""), tops, listing):
        listing = listing.below(f"{name}/")
        tops = _Top.of(listing.images)
    prefix, remarks = _choose(tops, part, source)
    if prefix is None:
        return None
    tests = [name for name in tops if _is_part(name, tops)] if part == TRAIN and not prefix else ()
    where = f"{source}/{prefix}".rstrip("/")
    return _labelled(listing.below(prefix, without=tests), part, source, where, remarks)


def _labelled(listing: Listing, part: str, source: str, where: str, remarks: Sequence[str]) -> ImageSet:
    """The images below the folder `where`, each in its class folder."""
    images = sorted((file for file in listing.images if "/" in file.path), key=lambda file: natural_order(file.path))
    beside = sorted(file.path for file in listing.images if "/" not in file.path)
    if not images:
        found = f"{len(beside)} images outside folders" if beside else f"no images ({_counted(listing.others)})"
        raise DataError(f"{where}: got {found}, expected a folder a class with images inside")
    _check_class_folders(listing, {file.path.partition("/")[0] for file in images}, where)
    remarks = [*remarks, *_passed_over(listing, beside)]
    found_set = labelled_set(source, [file.path.partition("/")[0] for file in images], Files(images), remarks=remarks)
    if part == TRAIN and found_set.num_classes == 1 and all(file.path.count("/") > 1 for file in images):
        (name,) = found_set.class_names
        hint = f"if the folders in it are the classes, give {where}/{name}"
        raise DataError(f"{source}: got images of 1 class, {name!r:.60}, expected two at the least; {hint}")
    return found_set


def _passed_over(listing: Listing, beside: Sequence[str]) -> Iterator[str]:
    if beside:
        yield f"passed over beside the class folders: {len(beside)} images, such as {printable(beside[0])}"
    if listing.hidden:
        yield f"passed over as hidden: {len(listing.hidden)}, such as {printable(min(listing.hidden))}"
    if listing.others:
        yield f"passed over as no images: {_counted(listing.others)}"
    if listing.links:
        yield f"passed over as links to nothing, or to what is listed anyway: {printable(listed(sorted(listing.links)))}"


def _check_class_folders(listing: Listing, classes: set[str], where: str) -> None:
    """DataError where a class folder holds no image."""
    empty = sorted((path for path in listing.folders if "/" not in path and path not in classes), key=natural_order)
    if empty:
        held = [f"{name!r:.60} ({_counted([file for file in listing.others if file.path.startswith(f'{name}/')])})" for name in empty]
        raise DataError(f"{where}: got no image that Pillow reads in the class folders {listed(held)}, expected one in each; "
                        "add or convert images, or move the folders away")  # fmt: skip


def _counted(files: Sequence[File]) -> str:
    counts = Counter(file.suffix or "without suffix" for file in files)
    return listed([f"{count} {suffix}" for suffix, count in counts.most_common()]) or "empty"


class _Top:
    """A folder at the top: how many images lie in it, and how many in its folders."""

    def __init__(self) -> None:
        self.images_inside = self.images_below = 0

    @staticmethod
    def of(images: Iterable[File]) -> dict[str, _Top]:
        tops: defaultdict[str, _Top] = defaultdict(_Top)
        for file in images:
            name, *below = file.path.split("/")
            if len(below) == 1:
                tops[name].images_inside += 1
            elif below:
                tops[name].images_below += 1
        return tops


def _is_part(name: str, tops: dict[str, _Top]) -> bool:
    """Whether a folder is a split, and no class that is called like one: its images lie in folders, or there are no classes beside it."""
    if name.lower() not in TRAIN_NAMES + TEST_NAMES or not tops[name].images_below:
        return False
    return tops[name].images_below > tops[name].images_inside or not _classes_beside_parts(tops)


def _is_outer(name: str, tops: dict[str, _Top], listing: Listing) -> bool:
    """Whether a folder holds all others, and is no split."""
    alone = len(tops) == 1 and not any("/" not in path and path != name for path in listing.folders)
    return alone and not tops[name].images_inside and not _is_part(name, tops)


def _classes_beside_parts(tops: dict[str, _Top]) -> list[str]:
    return [name for name, top in tops.items() if top.images_inside and name.lower() not in TRAIN_NAMES + TEST_NAMES]


def _choose(tops: dict[str, _Top], part: str, source: str) -> tuple[str | None, list[str]]:
    """The path that leads to a part's class folders, None where there is no test part, and remarks on what is left out."""
    parts = {name.lower(): name for name in sorted(tops, reverse=True) if _is_part(name, tops)}
    named = [parts[name] for name in (TRAIN_NAMES if part == TRAIN else TEST_NAMES) if name in parts]
    if part == ALL or not named:
        if part == TRAIN and parts and len(parts) == len(tops):
            raise DataError(f"{source}: got {listed(sorted(parts.values()))} without train, expected a training part")
        return (None if part == TEST else ""), []
    beside = _classes_beside_parts(tops)
    if part == TRAIN and len(beside) > 1 and not parts.keys() & set(TEST_NAMES):
        raise DataError(f"{source}: got the folder {named[0]} of folders beside folders of images, {printable(listed(sorted(beside)))}; "
                        "expected it to be the training part or a class: move or rename it")  # fmt: skip
    unused = [f"{name}/" for name in sorted(tops) if name not in parts.values() or (part == TEST and name in named[1:])]
    return f"{named[0]}/", [f"passed over beside {named[0]}/: {printable(listed(unused))}"] if unused else []
