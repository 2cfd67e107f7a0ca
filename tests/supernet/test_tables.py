"""Images whose classes stand in a table: CSV, WebDataset shards, Parquet, Arrow, Hugging Face sets and `.npz`."""

from __future__ import annotations

import io
import json
import pickle
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import ipc, parquet

from supernet.data.batches import evaluation_batches
from supernet.data.image_set import ImageSet
from supernet.data.images import open_images, open_test_images
from supernet.data.unreadable import DataError
from tests.pictures import write_pictures

PIXELS = np.random.default_rng(0).integers(0, 256, (14, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(14) % 2


def png(row: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(PIXELS[row]).save(content, "PNG")
    return content.getvalue()


def assert_is_read(images: ImageSet, names: tuple[str, str], rows: list[int]) -> None:
    """The set holds these rows of `PIXELS`, in any order, in their classes, and travels."""
    assert images.class_names == names
    assert sorted(images.labels.tolist()) == sorted(LABELS[rows].tolist())
    expected = {PIXELS[row].tobytes(): LABELS[row] for row in rows}
    for one in (images, pickle.loads(pickle.dumps(images))):
        assert {one.read(index).tobytes(): one.labels[index] for index in range(len(one))} == expected


# CSV ----------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for row in range(14):
        (tmp_path / "pics").mkdir(exist_ok=True)
        (tmp_path / "pics" / f"{row}.png").write_bytes(png(row))
    return tmp_path


ROWS = [(f"pics/{row}.png", ("no", "yes")[row % 2], "train" if row < 12 else "val") for row in range(14)]


@pytest.mark.parametrize(
    ("name", "header", "separator", "columns"),
    [
        ("labels.csv", "path,label", ",", 2),
        ("labels.csv", "\ufeffFilename;Class;split", ";", 3),
        ("labels.tsv", "image\tcategory\tsplit", "\t", 3),
        ("labels.csv", None, ",", 2),
    ],
)
def test_a_csv_of_paths_and_classes(pictures: Path, name: str, header: str | None, separator: str, columns: int) -> None:
    lines = [*([header] if header else []), *(separator.join(row[:columns]) for row in ROWS), ""]
    (pictures / name).write_text("\n".join(lines), encoding="utf-8")
    images = open_images(pictures / name)
    assert_is_read(images, ("no", "yes"), list(range(12 if columns == 3 else 14)))
    test = open_test_images(images, None, images.class_names)
    assert (test is None) == (columns == 2)
    if test is not None:
        assert_is_read(test, ("no", "yes"), [12, 13])


def test_rows_of_a_csv_that_repeat_a_file_count_once(pictures: Path) -> None:
    lines = ["path,label", *(",".join(row[:2]) for row in ROWS), "./pics/0.png,no"]
    (pictures / "labels.csv").write_text("\n".join(lines))
    images = open_images(pictures / "labels.csv")
    assert len(images) == 14
    assert "rows that name a file again: 1" in images.remarks[0]


def test_a_file_that_a_csv_names_in_vain_is_a_damaged_image(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pictures / "labels.csv").write_text("\n".join(["path,label", *(",".join(row[:2]) for row in ROWS), "pics/none.png,no"]))
    images = open_images(pictures / "labels.csv")
    (printed,) = capsys.readouterr().err.splitlines()
    assert "pics/none.png (no such file)" in printed
    assert sum(len(labels) for _, labels in evaluation_batches(images, range(15), 32)) == 14


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "got columns , expected path and label"),
        ("id,breed\n1,pug\n", "got columns id, breed, expected path and label"),
        ("path,label\npics/0.png\n", "line 2: got 'pics/0.png', expected a path and a class"),
        ("path,label\npics/0.png,\n", "line 2: got 'pics/0.png,', expected a path and a class"),
        ("path,label\npics/0.png,no\npics/0.png,yes\n", "line 3: got 'pics/0.png' again, of another class or split"),
        (b"path,label\n\xff\xfe,no\n", "got no UTF-8 text"),
        ('path,label\n"pics/0.png,no\n', "line 2: cannot be read as a table"),
    ],
)
def test_tables_that_are_none(pictures: Path, content: str | bytes, said: str) -> None:
    (pictures / "labels.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=said) as caught:
        open_images(pictures / "labels.csv")
    assert "\n" not in str(caught.value)


# WebDataset ---------------------------------------------------------------------------------------------------------------------------


def write_shard(path: Path, rows: range, facts: str = "cls") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for row in rows:
            for suffix, content in (("png", png(row)), (facts, str(LABELS[row]).encode())):
                member = tarfile.TarInfo(f"{row:06d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("name", ["set-train-{}.tar", "train/{}.tar"])
def test_webdataset_shards(tmp_path: Path, name: str) -> None:
    for number, rows in enumerate((range(6), range(6, 12))):
        write_shard(tmp_path / "set" / name.format(number), rows)
    write_shard(tmp_path / "set" / name.replace("train", "val").format(0), range(12, 14))
    images = open_images(tmp_path / "set")
    assert_is_read(images, ("0", "1"), list(range(12)))
    test = open_test_images(images, None, images.class_names)
    assert test is not None
    assert_is_read(test, ("0", "1"), [12, 13])


def test_a_shard_alone_and_one_without_classes(tmp_path: Path) -> None:
    write_shard(tmp_path / "one.tar", range(14))
    assert_is_read(open_images(tmp_path / "one.tar"), ("0", "1"), list(range(14)))
    write_shard(tmp_path / "none.tar", range(14), facts="json")
    with pytest.raises(DataError, match=r"got WebDataset shards with images without .cls files, .*; unpack them into a folder a class"):
        open_images(tmp_path / "none.tar")


# Parquet, Arrow, Hugging Face --------------------------------------------------------------------------------------------------------


def table(rows: range, label: str = "label", names: tuple[str, ...] | None = ("no", "yes"), as_struct: bool = True) -> pyarrow.Table:
    images = [{"bytes": png(row), "path": None} if as_struct else png(row) for row in rows]
    kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()}) if as_struct else pyarrow.binary()
    made = pyarrow.table({"image": pyarrow.array(images, kind), label: LABELS[rows].tolist(), "width": [8] * len(rows)})
    if names is None:
        return made
    features = {"image": {"_type": "Image"}, label: {"names": list(names), "_type": "ClassLabel"}}
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


@pytest.mark.parametrize("as_struct", [True, False])
def test_a_parquet_file(tmp_path: Path, as_struct: bool) -> None:
    parquet.write_table(table(range(14), names=None, as_struct=as_struct), tmp_path / "set.parquet", row_group_size=4)
    assert_is_read(open_images(tmp_path / "set.parquet"), ("0", "1"), list(range(14)))


def write_arrow(path: Path, rows: range) -> None:
    with ipc.new_stream(str(path), table(rows).schema) as file:
        file.write_table(table(rows), max_chunksize=3)


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_folder_as_hugging_face_has_it(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "README.md").write_text("a card")
    for name, rows in (("train-00000-of-00002", range(7)), ("train-00001-of-00002", range(7, 12)), ("test-00000-of-00001", range(12, 14))):
        path = tmp_path / "data" / f"{name}.{suffix}"
        if suffix == "parquet":
            parquet.write_table(table(rows, "fine_label"), path)
        else:
            write_arrow(path, rows)
    images = open_images(tmp_path)
    assert_is_read(images, ("no", "yes"), list(range(12)))
    test = open_test_images(images, None, images.class_names)
    assert test is not None
    assert_is_read(test, ("no", "yes"), [12, 13])


def test_damaged_images_in_a_table_are_named_by_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = table(range(14)).to_pydict()
    made["image"][3] = {"bytes": b"", "path": None}
    parquet.write_table(pyarrow.table(made), tmp_path / "set.parquet")
    open_images(tmp_path / "set.parquet")
    (printed,) = capsys.readouterr().err.splitlines()
    assert "set.parquet: row 3 (no image that Pillow knows)" in printed


def test_tables_that_hold_no_labelled_images(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    cut_off = table(range(14))
    for made, said in (
        (table(range(14), "kind", names=None), "got columns image, kind, width, expected one of images and one called label"),
        (table(range(14)).drop_columns("image"), "expected one of images"),
        (table(range(14), names=("no",)), "got labels such as 0, expected names or whole numbers from 0 to 0"),
        (pyarrow.table({"image": [png(0)] * 12, "label": [None, *range(11)]}), "got the label None, expected a name or a whole number"),
    ):
        parquet.write_table(made, path)
        with pytest.raises(DataError, match=said):
            open_images(path)
    parquet.write_table(cut_off, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"set.parquet: cannot be read as a table \(.*\); copy it again"):
        open_images(path)


def test_a_set_of_hugging_face_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"^hfds/owner/set: needs the package datasets \(.*\); run: pip install datasets$"):
        open_images("hfds/owner/set")

    def load_dataset(name: str, split: str) -> SimpleNamespace:
        if (name, split) not in (("owner/set", "train"), ("owner/set", "test")):
            raise ValueError(f"unknown split\n{split!r}")
        made = table(range(12) if split == "train" else range(12, 14))
        plain = SimpleNamespace(table=made.replace_schema_metadata(None))
        return SimpleNamespace(data=plain, features=SimpleNamespace(arrow_schema=made.schema))

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    images = open_images("hfds/owner/set")
    assert_is_read(images, ("no", "yes"), list(range(12)))
    test = open_test_images(images, None, images.class_names)
    assert test is not None
    assert_is_read(test, ("no", "yes"), [12, 13])
    with pytest.raises(DataError, match=r"hfds/owner/other: cannot be opened \(unknown split 'train'\)"):
        open_images("hfds/owner/other")


# Arrays -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arrays",
    [
        {"train_images": PIXELS[:12], "train_labels": LABELS[:12, None], "test_images": PIXELS[12:], "test_labels": LABELS[12:, None]},
        {"x_train": PIXELS[:12], "y_train": LABELS[:12], "x_test": PIXELS[12:], "y_test": LABELS[12:]},
        {"train_images": PIXELS[:12].transpose(0, 3, 1, 2), "train_labels": LABELS[:12].astype(str),
         "val_images": PIXELS[12:], "val_labels": LABELS[12:].astype(str)},
    ],
)  # fmt: skip
def test_arrays_of_parts(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez_compressed(tmp_path / "set.npz", **arrays)
    images = open_images(tmp_path / "set.npz")
    assert_is_read(images, ("0", "1"), list(range(12)))
    test = open_test_images(images, None, images.class_names)
    assert test is not None
    assert_is_read(test, ("0", "1"), [12, 13])


def test_arrays_with_class_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=PIXELS, labels=LABELS, class_names=np.array(["no", "yes"]))
    images = open_images(tmp_path / "set.npz")
    assert_is_read(images, ("no", "yes"), list(range(14)))
    assert open_test_images(images, None, images.class_names) is None
    assert images.mirror
    np.savez(tmp_path / "mnist.npz", images=PIXELS[..., 0], labels=LABELS)
    assert not open_images(tmp_path / "mnist.npz").mirror


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"images": PIXELS / 255, "labels": LABELS}, "got an image of float64, expected a PIL image or uint8 pixels"),
        ({"images": PIXELS.astype(np.uint16), "labels": LABELS}, "got an image of uint16"),
        ({"images": PIXELS, "labels": np.eye(14)}, r"got images uint8\(14, 8, 8, 3\), labels float64\(14, 14\), expected images"),
        ({"images": PIXELS, "labels": LABELS[:9]}, "expected images"),
        ({"images": PIXELS, "labels": LABELS, "class_names": np.array(["no"])}, "expected names or whole numbers from 0 to 0"),
        ({"images": PIXELS, "labels": LABELS, "classes": np.array([None, object])}, "cannot be read as arrays without pickles"),
    ],
)
def test_arrays_that_hold_no_labelled_images(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(DataError, match=said) as caught:
        open_images(tmp_path / "set.npz")
    assert "\n" not in str(caught.value)


def test_an_array_file_that_is_cut_off(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=PIXELS, labels=LABELS)
    (tmp_path / "set.npz").write_bytes((tmp_path / "set.npz").read_bytes()[:900])
    with pytest.raises(DataError, match=r"set.npz: cannot be read as arrays"):
        open_images(tmp_path / "set.npz")


def test_a_folder_of_classes_as_a_test_part_of_a_table(pictures: Path) -> None:
    (pictures / "labels.csv").write_text("\n".join(["path,label", *(f"pics/{row}.png,{('ant', 'bee')[row % 2]}" for row in range(14))]))
    images = open_images(pictures / "labels.csv")
    test = open_test_images(images, write_pictures(pictures / "test", ("bee",), 2), images.class_names)
    assert test is not None
    assert test.images_by_class == {"ant": 0, "bee": 2}
