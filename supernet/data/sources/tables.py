"""Arrow tables of images and labels, or masks: Parquet and Arrow files, and what the package `datasets` gets by name from Hugging Face.

Nothing in them is unpickled, and no code of a data set is run. Parquet is read into memory; Arrow files stay on disk.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from space.errors import one_line
from supernet.data.image_set import CLASSIFICATION, MAX_BYTES, ImageSet
from supernet.data.labelled_set import labelled_set
from supernet.data.readers import EncodedImages
from supernet.data.segmentation.masks import EncodedMasks
from supernet.data.segmentation.opening import images_with_masks
from supernet.data.sources.labelled_files import LABEL_COLUMNS
from supernet.data.sources.parts import rows_in_part
from supernet.data.target_options import TargetOptions
from supernet.data.unreadable import DataError, listed

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = (".parquet", ".arrow")
MASK_COLUMNS = ("mask", "annotation", "segmentation", "segmentation_mask", "semantic_mask", "label", "labels")
"""Names that the column of masks may have, in lower case."""


class _EncodedColumn(EncodedImages):
    """Reads the images of a table's column: encoded bytes, or as Hugging Face has them, with `bytes` and `path`."""

    def __init__(self, name: str, column: pyarrow.ChunkedArray) -> None:
        self._name, self._column = name, column

    def open(self, row: int) -> BinaryIO:
        value: Any = self._column[row].as_py()
        content, path = (value["bytes"], value.get("path")) if isinstance(value, dict) else (value, None)
        if content is not None:
            return io.BytesIO(content)
        if path is not None:
            return Path(path).open("rb")
        raise ValueError("got an empty cell")

    def where(self, row: int) -> str:
        return f"{self._name}: row {row}"


def images_of_tables(
    source: str, files: Sequence[Path], part: str, targets: TargetOptions, class_names: Sequence[str] | None
) -> ImageSet | None:
    """The images of Parquet or Arrow files; `train`, `test` or the like in a file's name is its split."""
    import pyarrow

    rows = rows_in_part([str(Path(file).relative_to(source)) if Path(source).is_dir() else file.stem for file in files], part)
    if rows is None:
        return None
    try:
        tables = [_read(file) for file in _checked([files[row] for row in rows], source)]
        return _images_of(source, pyarrow.concat_tables(tables), targets, class_names)
    except pyarrow.ArrowException as error:
        raise DataError(f"{source}: cannot be read as a table ({one_line(error)}); copy it again if it was cut off") from None


def images_of_hugging_face(name: str, parts: Sequence[str], targets: TargetOptions, class_names: Sequence[str] | None) -> ImageSet:
    """The first of some splits that a set `hfds/owner/set` has; what was downloaded once is read without a network."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"{name}: needs the package datasets ({one_line(error)}); run: pip install datasets") from None
    reasons = []
    for part in parts:
        try:
            found = datasets.load_dataset(name.partition("/")[2], split=part)
        except Exception as error:  # Whatever the network, the hub or a builder raises.
            reasons.append(one_line(error))
        else:
            table = found.data.table.replace_schema_metadata(found.features.arrow_schema.metadata)
            return _images_of(name, table, targets, class_names)
    raise DataError(f"{name}: cannot be opened ({reasons[0]})")


def _checked(files: Sequence[Path], source: str) -> Sequence[Path]:
    from pyarrow import parquet

    total = 0
    for file in files:
        if file.suffix.lower() == ".parquet":
            metadata = parquet.read_metadata(file)
            total += sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    if total > MAX_BYTES:
        size = f"{total / 2**30:.0f} GiB of Parquet, expected {MAX_BYTES / 2**30:.0f} at most"
        raise DataError(f"{source}: got {size}; unpack it into a folder a class")
    return files


def _read(file: Path) -> pyarrow.Table:
    import pyarrow
    from pyarrow import ipc, parquet

    if file.suffix.lower() == ".parquet":
        return parquet.read_table(file)
    content = pyarrow.memory_map(str(file))
    try:
        return ipc.open_stream(content).read_all()
    except pyarrow.ArrowInvalid:
        return ipc.open_file(content).read_all()


def _images_of(source: str, table: pyarrow.Table, targets: TargetOptions, class_names: Sequence[str] | None) -> ImageSet:
    from pyarrow import types

    features = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})

    def is_image(kind: pyarrow.DataType) -> bool:
        return types.is_binary(kind) or types.is_large_binary(kind) or (types.is_struct(kind) and kind.get_field_index("bytes") >= 0)

    at_image = [field.name for field in table.schema if is_image(field.type)]
    named = [name for name in LABEL_COLUMNS if name in table.column_names]
    at_label = named or [name for name, feature in features.items() if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"]
    at_mask = [name for name in at_image if name.lower() in MASK_COLUMNS]
    if len(at_image) == 2 and len(at_mask) == 1 and targets.task != CLASSIFICATION:
        at_label = [name for name in at_label if name not in at_image]
        if at_label and targets.task is None:
            both = f"{listed(at_image)} and {at_label[0]}"
            raise DataError(f"{source}: got columns of images, masks and classes, {both}; expected --task classification or segmentation")
        (at_image_itself,) = (name for name in at_image if name not in at_mask)
        masks = EncodedMasks(_EncodedColumn(source, table[at_mask[0]]))
        return images_with_masks(source, _EncodedColumn(source, table[at_image_itself]), masks, len(table), targets, class_names)
    at_image = [name for name in at_image if name not in at_mask]
    if len(at_image) != 1 or len(at_label) != 1:
        raise DataError(f"{source}: got columns {listed(table.column_names)}, expected one of images and one called {LABEL_COLUMNS[0]}")
    reader, labels = _EncodedColumn(source, table[at_image[0]]), table[at_label[0]].to_pylist()
    wrong = [label for label in labels if not isinstance(label, int | str)]
    if wrong:
        raise DataError(f"{source}: got the label {wrong[0]!r:.40}, expected a name or a whole number")
    return labelled_set(source, labels, reader, features.get(at_label[0], {}).get("names"))
