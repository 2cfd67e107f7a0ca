"""Images with masks: every layout and kind of mask is read alike, and what is wrong is named with its file."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from supernet.data.images import open_images, open_test_images
from supernet.data.segmentation.masked_images import MaskedImages
from supernet.data.segmentation.scenes import CLASS_NAMES, draw_scenes
from supernet.data.splits import cautions, split
from supernet.data.target_options import AS_FOUND, VOID, TargetOptions
from supernet.data.unreadable import DataError
from supernet.tasks.task import task_of_images
from tests.scenes import as_mask, write_ade20k, write_cityscapes, write_voc

COUNTS = {"training": 12, "validation": 4}


def opened(source: Any, targets: TargetOptions = AS_FOUND) -> MaskedImages:
    images = open_images(source, targets)
    assert isinstance(images, MaskedImages)
    return images


def assert_are_scenes(images: MaskedImages, first: int, count: int, classes: np.ndarray | None = None) -> None:
    """The masks are those of drawn scenes; `classes` are their numbers in this set."""
    drawn = draw_scenes(first + count)
    assert len(images) == count
    table = np.append(np.arange(5) if classes is None else classes, np.full(251, VOID))
    for index in range(count):
        assert np.array_equal(images.mask(index), table[drawn.masks[first + index]])


def packed(folder: Path) -> Path:
    with tarfile.open(folder.with_suffix(".tar"), "w") as tar:
        tar.add(folder, folder.name)
    return folder.with_suffix(".tar")


@pytest.mark.parametrize("form", ["folder", "tar", "outer folder"])
@pytest.mark.parametrize("kind", ["grey", "palette"])
@pytest.mark.parametrize("splits", [("training", "validation"), ("train", "val")])
def test_folders_of_ade20k(form: str, kind: str, splits: tuple[str, str], tmp_path: Path) -> None:
    folder = write_ade20k(tmp_path / "outer" / "set", dict(zip(splits, (12, 4), strict=True)), kind)
    source = {"folder": folder, "tar": folder, "outer folder": folder.parent}[form]
    source = packed(folder) if form == "tar" else source
    images = opened(source)
    assert images.class_names == CLASS_NAMES
    assert images.task == "segmentation"
    assert_are_scenes(images, 0, 12)
    test = open_test_images(images, None, images.class_names)
    assert isinstance(test, MaskedImages)
    assert_are_scenes(test, 12, 4)


def test_folders_of_voc(tmp_path: Path) -> None:
    images = opened(write_voc(tmp_path / "VOC2012"))
    assert images.class_names[:3] == ("background", "aeroplane", "bicycle")
    assert images.num_classes == 21
    assert_are_scenes(images, 0, 12)
    test = open_test_images(images, None, images.class_names)
    assert isinstance(test, MaskedImages)
    assert_are_scenes(test, 12, 4)


@pytest.mark.parametrize("ids", ["labelTrainIds", "labelIds"])
def test_folders_of_cityscapes(ids: str, tmp_path: Path) -> None:
    images = opened(write_cityscapes(tmp_path / "cityscapes", ids))
    assert images.num_classes == 19
    assert images.class_names[0] == "road"
    # By city, then by number.
    drawn, order = draw_scenes(12).masks, [*range(0, 12, 2), *range(1, 12, 2)]
    table = np.append([10, 0, 13, 2, 5], np.full(251, VOID))
    assert all(np.array_equal(images.mask(index), table[drawn[number]]) for index, number in enumerate(order))
    test = open_test_images(images, None, images.class_names)
    assert test is not None
    assert len(test) == 4


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    content = io.BytesIO()
    image.save(content, form)
    return content.getvalue()


def write_parquet(folder: Path, mask: str = "annotation", more: dict[str, list[Any]] | None = None) -> Path:
    drawn = draw_scenes(12)
    columns = {
        "image": [{"bytes": encoded(Image.fromarray(one)), "path": None} for one in drawn.pixels],
        mask: [{"bytes": encoded(as_mask(one)), "path": None} for one in drawn.masks],
    }
    folder.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns | (more or {})), folder / "train-0.parquet")
    return folder


@pytest.mark.parametrize("mask", ["annotation", "mask", "label"])
def test_tables_with_an_image_and_a_mask_column(mask: str, tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text('["sky", "ground", "disc", "square", "bar"]')
    images = opened(write_parquet(tmp_path / "set", mask), TargetOptions(class_names=str(tmp_path / "names.json")))
    assert images.class_names == CLASS_NAMES
    assert_are_scenes(images, 0, 12)


def test_a_table_that_serves_two_tasks_needs_one_named(tmp_path: Path) -> None:
    folder = write_parquet(tmp_path / "set", more={"label": [number % 2 for number in range(12)]})
    with pytest.raises(DataError, match="expected --task classification or segmentation"):
        open_images(folder)
    assert opened(folder, TargetOptions(task="segmentation")).num_classes == 5
    assert open_images(folder, TargetOptions(task="classification")).num_classes == 2


class Own:
    classes = CLASS_NAMES

    def __init__(self, form: str, count: int = 12) -> None:
        self.form, self.drawn = form, draw_scenes(count)

    def __len__(self) -> int:
        return len(self.drawn.masks)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        mask = self.drawn.masks[index]
        targets = {"image": as_mask(mask), "array": mask, "tensor": torch.from_numpy(mask).long()}
        return Image.fromarray(self.drawn.pixels[index]), targets[self.form]


@pytest.mark.parametrize("form", ["image", "array", "tensor"])
def test_objects_of_images_and_masks(form: str) -> None:
    images = opened(Own(form))
    assert images.class_names == CLASS_NAMES
    assert_are_scenes(images, 0, 12)
    assert_are_scenes(pickle.loads(pickle.dumps(images)), 0, 12)
    test = open_test_images(images, Own(form, 3), images.class_names)
    assert test is not None
    assert len(test) == 3


def test_made_up_scenes_are_the_same_each_time_and_have_all_classes() -> None:
    images = opened("scenes")
    assert images.class_names == CLASS_NAMES
    assert np.array_equal(draw_scenes(3).pixels, draw_scenes(5).pixels[:3])
    assert set(np.unique(draw_scenes().masks)) == {*range(5), VOID}
    test = open_test_images(images, None, images.class_names)
    assert test is not None
    assert (len(images), len(test)) == (200, 60)


def test_options_say_which_number_is_no_class(tmp_path: Path) -> None:
    folder = write_ade20k(tmp_path / "set", COUNTS, first=1)
    with pytest.raises(DataError, match=r"annotations/training/\d+.png: got the class number 5, expected 0 to 4.*--reduce-zero-label"):
        open_images(folder)
    images = opened(folder, TargetOptions(reduce_zero_label=True))
    assert_are_scenes(images, 0, 12)
    assert_are_scenes(opened(folder, TargetOptions(reduce_zero_label=True, ignore_index=1)), 0, 12, np.array([VOID, 1, 2, 3, 4]))
    test = open_test_images(images, None, images.class_names)
    assert isinstance(test, MaskedImages)
    assert_are_scenes(test, 12, 4)
    assert_are_scenes(pickle.loads(pickle.dumps(test)), 12, 4)


def test_without_class_names_the_numbers_are_the_names(tmp_path: Path) -> None:
    images = opened(write_ade20k(tmp_path / "set", COUNTS, names=False))
    assert images.class_names == ("0", "1", "2", "3", "4")
    assert open_test_images(images, None, images.class_names) is not None


NAMES: dict[str, tuple[str, str]] = {
    "text": ("classes.txt", "sky\nground\n\ndisc\nsquare\nbar\n"),
    "table": ("classes.csv", "id,name\n0,sky\n1,ground\n2,disc\n3,square\n4,bar\n"),
    "json": ("classes.json", '{"1": "ground", "0": "sky", "2": "disc", "3": "square", "4": "bar"}'),
    "tabs": ("objectInfo150.txt", "Idx\tRatio\tName\n1\t.4\tsky\n2\t.3\tground\n3\t.1\tdisc\n4\t.1\tsquare\n5\t.1\tbar\n"),
}


@pytest.mark.parametrize("form", NAMES)
@pytest.mark.parametrize("is_beside", [True, False])
def test_class_names_come_from_a_file(form: str, is_beside: bool, tmp_path: Path) -> None:
    folder = write_ade20k(tmp_path / "set", COUNTS, names=False)
    name, text = NAMES[form]
    file = (folder if is_beside else tmp_path) / name
    file.write_text(text)
    options = AS_FOUND if is_beside else TargetOptions(class_names=str(file))
    assert opened(folder, options).class_names == CLASS_NAMES


def test_colours_are_classes_where_a_file_says_which(tmp_path: Path) -> None:
    folder = write_ade20k(tmp_path / "set", COUNTS, names=False)
    colours = np.array([(7 * number % 256, 200, 3 * number % 256) for number in range(256)], dtype=np.uint8)
    for file in (folder / "annotations").rglob("*.png"):
        Image.fromarray(colours[np.asarray(Image.open(file))]).save(file)
    with pytest.raises(DataError, match=r"annotations/training/0.png: got a mask of colours, expected class numbers"):
        open_images(folder)
    table = [f"{name},{7 * number},200,{3 * number}" for number, name in enumerate(CLASS_NAMES)]
    (folder / "classes.csv").write_text("\n".join(["name,r,g,b", *table]))
    with pytest.raises(DataError, match=r"got the colour \(249, 200, 253\), expected one that the class names list"):
        open_images(folder)
    (folder / "classes.csv").write_text("\n".join(["name,r,g,b", "Void,249,200,253", *table]))
    images = opened(folder)
    assert images.class_names == CLASS_NAMES
    assert_are_scenes(images, 0, 12)


def jpeg_mask(folder: Path) -> None:
    for file in (folder / "annotations").rglob("*.png"):
        Image.open(file).save(file.with_suffix(".jpg"))
        file.unlink()


def other_size(folder: Path) -> None:
    file = folder / "annotations/training/3.png"
    Image.open(file).resize((40, 50), Image.Resampling.NEAREST).save(file)


def unknown_number(folder: Path) -> None:
    numbers = np.asarray(Image.open(folder / "annotations/training/3.png")).copy()
    numbers[5, 5] = 77
    as_mask(numbers).save(folder / "annotations/training/3.png")


def in_validation_alone(folder: Path) -> None:
    unknown = np.asarray(Image.open(folder / "annotations/validation/13.png")).copy()
    unknown[5, 5] = 5
    as_mask(unknown).save(folder / "annotations/validation/13.png")


def without_names(folder: Path) -> None:
    (folder / "classes.txt").unlink()


def both(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change


def open_both(folder: Path) -> None:
    images = open_images(folder)
    open_test_images(images, None, images.class_names)


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "masks as JPEG": (jpeg_mask, r"annotations/training/0.jpg: got a mask as JPEG"),
    "a mask of another size": (other_size, r"annotations/training/3.png: got a mask of 40x50 pixels, expected 96x96"),
    "an unknown number": (unknown_number, r"annotations/training/3.png: got the class number 77, expected 0 to 4, or 255"),
    "a missing mask": (
        lambda folder: (folder / "annotations/training/3.png").unlink(),
        r"got 1 of 12 images without a mask in .*annotations: .*images/training/3.png",
    ),
    "no masks at all": (
        lambda folder: [file.unlink() for file in (folder / "annotations/training").iterdir()],
        r"got 12 of 12 images without a mask",
    ),
    "a damaged mask": (
        lambda folder: (folder / "annotations/training/3.png").write_bytes(b"\x89PNG\r\n\x1a\nno"),
        r"annotations/training/3.png: the mask cannot be read",
    ),
    "a class in validation alone": (in_validation_alone, r"annotations/validation/13.png: got the class number 5, expected 0 to 4"),
    "the same without names": (
        both(without_names, in_validation_alone), r"annotations/validation/13.png: got the class number 5, expected 0 to 4",
    ),
    "a class name twice": (lambda folder: (folder / "classes.txt").write_text("a\nb\na\n"), r"classes.txt: got a more than once"),
    "one class": (lambda folder: (folder / "classes.txt").write_text("a\n"), r"classes.txt: got 1 class names, expected 2 to 254"),
    "no training part": (
        lambda folder: [(folder / top / "training").rename(folder / top / "test") for top in ("images", "annotations")],
        r"images: got .*test.* without train",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_its_file(case: str, tmp_path: Path) -> None:
    change, expected = WRONG[case]
    folder = write_ade20k(tmp_path / "set", COUNTS)
    change(folder)
    with pytest.raises(DataError, match=expected) as raised:
        open_both(folder)
    assert "\n" not in str(raised.value)


def test_a_task_is_asked_for_or_told_from_the_data(tmp_path: Path) -> None:
    folder = write_ade20k(tmp_path / "set", COUNTS)
    # As classes: images and annotations.
    assert open_images(folder, TargetOptions(task="classification")).class_names == ("annotations", "images")
    with pytest.raises(DataError, match="got images for classification, expected some for segmentation"):
        open_images("digits", TargetOptions(task="segmentation"))
    with pytest.raises(DataError, match="ignore_index: has no effect on digits"):
        open_images("digits", TargetOptions(ignore_index=0))
    with pytest.raises(DataError, match="got no folders of images and masks, expected images/training"):
        open_images(folder / "images", TargetOptions(task="segmentation"))


def test_hidden_files_are_passed_over_and_images_turned_upright(tmp_path: Path) -> None:
    folder = write_ade20k(tmp_path / "set", COUNTS)
    for top in ("images", "annotations"):
        (folder / top / "training" / "._0.png").write_bytes(b"no image")
        (folder / top / ".DS_Store").write_bytes(b"")
    turned = Image.open(folder / "images/training/5.png").resize((60, 90)).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(folder / "images/training/5.png", exif=exif)
    numbers = np.arange(90 * 60).reshape(90, 60) % 5
    as_mask(numbers).save(folder / "annotations/training/5.png")
    images = opened(folder)
    assert len(images) == 12
    assert images.read(5).size == (60, 90)
    assert images.scene(5).shape == (90, 60, 4)
    assert np.array_equal(images.mask(5), numbers)


def test_splits_and_cautions_are_those_of_masks(tmp_path: Path) -> None:
    images = opened("scenes")
    parts = split(images, 0)
    assert sum(map(len, (parts.train, parts.search, parts.calibration))) == 200
    assert not list(cautions(images, parts))
    few = opened(write_ade20k(tmp_path / "set", {"training": 10}))
    assert any("too few images to be judged" in line for line in cautions(few, split(few, 0, num_search=1)))
    assert "5 classes" in images.summary


def test_whole_images_are_judged_at_the_size_of_their_masks(tmp_path: Path) -> None:
    folder = write_ade20k(tmp_path / "set", {"training": 10})
    numbers = np.arange(100 * 130).reshape(100, 130) % 5
    for name in (2, 7):
        noise = np.random.default_rng(name).integers(0, 255, (100, 130, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"images/training/{name}.png")
        as_mask(numbers).save(folder / f"annotations/training/{name}.png")
    images = opened(folder)
    batches = list(task_of_images(images).evaluation_batches(images, range(10), 64))
    assert [tuple(images.shape) for images, _ in batches] == [(8, 3, 64, 64), (2, 3, 64, 96)]
    (_, square), (_, wide) = batches
    assert square.shape == (8, 96, 96)
    # 64 / 100 of 150 px are 96 px.
    assert wide.shape == (2, 100, 150)
    assert np.array_equal(wide[0, :, :130].numpy(), numbers)
    assert (wide[:, :, 130:] == VOID).all()


def test_crops_keep_images_and_masks_together(tmp_path: Path) -> None:
    """Images whose colours are their masks'."""

    class Told(Own):
        def __getitem__(self, index: int) -> tuple[Any, Any]:
            mask = np.kron(np.random.default_rng(index).integers(0, 5, (6, 9)), np.ones((16, 16), dtype=int))
            return np.repeat((50 * mask).astype(np.uint8)[..., None], 3, 2), mask

    images = opened(Told("array", 20))
    batches = task_of_images(images).training_batches(images, np.arange(20), 10, 64, 0)
    pixels, masks = next(type(batches)(images, np.arange(20), 10, 64, 0, batches.augmentation.__class__(color_jitter=0.0)).stream(0, 1))
    mean, std = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1), torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)
    levels = ((pixels * std + mean) * 255).mean(1)
    has_class = masks != VOID
    assert 0.5 < has_class.float().mean() < 1
    # Between the squares, levels are mixed.
    off = (levels - 50 * masks.float()).abs()[has_class]
    assert (off < 2).float().mean() > 0.75
    grey = 255 * torch.tensor((0.485, 0.456, 0.406)).mean()
    assert torch.allclose(levels[~has_class], grey.expand_as(levels[~has_class]), atol=1)
