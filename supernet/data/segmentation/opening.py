"""Opening images with masks: from files, from encoded columns, from arrays; with the names of their classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from supernet.data.files import Files, Listing
from supernet.data.readers import Reader
from supernet.data.segmentation.class_names import CONVENTIONAL, ClassNames, parse_class_names
from supernet.data.segmentation.layouts import pairs_in
from supernet.data.segmentation.masked_images import MaskedImages, masked_images
from supernet.data.segmentation.masks import MAX_CLASSES, ClassTable, EncodedMasks, MaskReader
from supernet.data.target_options import TargetOptions
from supernet.data.unreadable import DataError


def images_with_mask_files(
    listing: Listing, part: str, source: str, options: TargetOptions, class_names: Sequence[str] | None
) -> MaskedImages | None:
    """The images of a part, `TRAIN`, `TEST` or `ALL`, and their masks; None where there is no test part.

    Args:
        class_names: those of the training part, if this is another part.
    """
    pairs = pairs_in(listing, part, source)
    if pairs is None:
        return None
    known = ClassNames(pairs.class_names) if pairs.class_names else None
    beside = next((file for name in CONVENTIONAL for file in listing.others if file.path == name), None)
    if beside is not None:
        with beside.open() as content:
            known = parse_class_names(beside.where, content.read())
    reader, masks = Files(pairs.images), EncodedMasks(Files(pairs.masks))
    return images_with_masks(source, reader, masks, len(pairs.images), options, class_names, known, pairs.table, pairs.remarks)


def images_with_masks(
    source: str,
    reader: Reader,
    masks: MaskReader,
    count: int,
    options: TargetOptions,
    class_names: Sequence[str] | None,
    known: ClassNames | None = None,
    table: ClassTable | None = None,
    remarks: Sequence[str] = (),
) -> MaskedImages:
    """Images with masks by the same numbers.

    Without class names anywhere, the numbers that occur in the masks are counted, and name the classes.

    Args:
        class_names: as of `images_with_mask_files`.
        known: names that come with the source; `options.class_names` wins over them.
        table: of the masks' numbers, where the source settles it.
    """
    if options.class_names is not None:
        known = _read(Path(options.class_names))
    if known is None:
        known = ClassNames(tuple(class_names) if class_names is not None else _counted(masks, count, options))
    if class_names is not None and known.names != tuple(class_names):
        raise DataError(f"{source}: got other class names than those of the training data, expected the same in the same order")
    table = table or ClassTable.numbered(len(known.names), options, known.colours, known.void_colours)
    return masked_images(source, known.names, reader, masks, table, count, remarks)


def _read(file: Path) -> ClassNames:
    try:
        return parse_class_names(str(file), file.read_bytes())
    except OSError as error:
        raise DataError(f"class names: {file}: cannot be read: {error.strerror}") from None


def _counted(masks: MaskReader, count: int, options: TargetOptions) -> tuple[str, ...]:
    """Names of as many classes as the masks have numbers, up to the greatest one."""
    every = ClassTable.numbered(MAX_CLASSES - options.reduce_zero_label, options)
    greatest = -1
    for row in range(count):
        classes = every.apply(masks.mask(row), masks.where(row))
        present = classes[classes < MAX_CLASSES]
        greatest = max(greatest, int(present.max()) if len(present) else -1)
    first = int(options.reduce_zero_label)
    return tuple(str(number) for number in range(first, first + greatest + 1))
