"""Which files are images, and of which class: one rule for folders and tars.

    train/cat/a.jpg             an image of the class cat
    train/cat/2023/b.png        another one: the class is the first folder below the split
    train/.cache/c.png          passed over, as all that is hidden
    train/sheet.png             passed over: beside the class folders
    val/cat/d.jpg               of the test part
    unlabelled/e.jpg            passed over: beside train/

Without `train/` the folders at the top are the classes. `ImageSet.remarks` say what was passed over. A class folder without an image is
an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from supernet.data.files import File, Files, Listing
from supernet.data.image_set import ImageSet
from supernet.data.labelled_set import labelled_set, natural_order
from supernet.data.sources.parts import ALL, TEST, TEST_NAMES, TRAIN, TRAIN_NAMES
from supernet.data.unreadable import DataError, listed, printable


def images_in_class_folders(listing: Listing, part: str, source: str, is_tar: bool = False) -> ImageSet | None:
    """The images of a part, `TRAIN`, `TEST` or `ALL`; None where there is no test part.

    Args:
        is_tar: a tar's only folder at the top, such as `set/` in `set/train/...`, is left out of all paths.
    """
    tops = _TopFolders(listing)
    while is_tar and (outer := tops.outer):
        listing = listing.below(f"{outer}/")
        tops = _TopFolders(listing)
    names = [tops.parts[name] for name in (TRAIN_NAMES if part == TRAIN else TEST_NAMES) if name in tops.parts]
    if part == TRAIN:
        tops.check_training_part(names, source)
    if part == ALL or not names:
        tests = tops.parts.values() if part == TRAIN else ()
        return None if part == TEST else _labelled(listing.below("", without=tests), part, source, source, [])
    unused = [f"{name}/" for name in tops.names if name not in tops.parts.values() or name in names[1:]]
    remarks = [f"passed over beside {names[0]}/: {printable(listed(unused))}"] if unused else []
    return _labelled(listing.below(f"{names[0]}/"), part, source, f"{source}/{names[0]}", remarks)


class _TopFolders:
    """The folders at the top, and which of them are splits.

    Args:
        inside, below: how many images lie in a folder, and how many in the folders in it.
        classes: those that hold images, and are not called like splits.
        parts: the splits by their names in lower case. A split's images lie in folders; a class may be called like one.
    """

    def __init__(self, listing: Listing) -> None:
        inside, below = Counter[str](), Counter[str]()
        for file in listing.images:
            name, _, path = file.path.partition("/")
            if path:
                (below if "/" in path else inside)[name] += 1
        self.names = sorted(inside.keys() | below.keys())
        self.classes = [name for name in sorted(inside) if name.lower() not in TRAIN_NAMES + TEST_NAMES]
        self.parts = {
            name.lower(): name
            for name in sorted(below, reverse=True)
            if name.lower() in TRAIN_NAMES + TEST_NAMES and (below[name] > inside[name] or not self.classes)
        }
        folders = {*self.names, *(path for path in listing.folders if "/" not in path)}
        self.outer = self.names[0] if len(folders) == len(self.names) == 1 and not inside and not self.parts else None

    def check_training_part(self, names: Sequence[str], source: str) -> None:
        """DataError where the split is missing beside others, or may as well be a class; `names` are the folders called like it."""
        if not names and self.parts and len(self.parts) == len(self.names):
            raise DataError(f"{source}: got {listed(sorted(self.parts.values()))} without train, expected a training part")
        if names and len(self.classes) > 1 and not self.parts.keys() & set(TEST_NAMES):
            raise DataError(f"{source}: got the folder {names[0]} of folders beside folders of images, {printable(listed(self.classes))}; "
                            "expected it to be the training part or a class: move or rename it")  # fmt: skip


def _labelled(listing: Listing, part: str, source: str, where: str, remarks: Sequence[str]) -> ImageSet:
    """The images below the folder `where`, each in its class folder."""
    images = sorted((file for file in listing.images if "/" in file.path), key=lambda file: natural_order(file.path))
    beside = sorted(file.path for file in listing.images if "/" not in file.path)
    if not images:
        found = f"{len(beside)} images outside folders" if beside else f"no images ({_counted(listing.others)})"
        tables = [file.where for file in listing.others if file.suffix in (".csv", ".tsv")]
        advice = f"; if {tables[0]} holds the classes, give that" if tables else ""
        raise DataError(f"{where}: got {found}, expected a folder a class with images inside{advice}")
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
