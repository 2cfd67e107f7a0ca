"""A few damaged images stop nothing, are named in one line, and change no other image's place."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from supernet.data import image_set
from supernet.data.batches import Augmentation, Batches, evaluation_batches, fixed_batch
from supernet.data.images import ImageSet, open_images, open_test_images
from supernet.data.unreadable import DataError, UnreadableImage
from tests.pictures import COLOURS, pack, write_pictures

FORMS = ("folder", "tar")


def half(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def jpeg(whole: bytes) -> bytes:
    written = io.BytesIO()
    Image.open(io.BytesIO(whole)).resize((64, 64)).save(written, "jpeg")
    return half(written.getvalue())


def bomb(_: bytes) -> bytes:
    """The header of a PNG of ten thousand million pixels."""
    written = io.BytesIO()
    Image.new("1", (1, 1)).save(written, "png")
    content = bytearray(written.getvalue())
    content[16:24] = (100_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def thread(_: bytes) -> bytes:
    written = io.BytesIO()
    Image.new("1", (100_000, 1)).save(written, "png")
    return written.getvalue()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"", "text": lambda _: b"not an image\n", "half a png": half, "half a jpeg": jpeg, "bomb": bomb, "thread": thread,
    "pickle": lambda _: b"\x80\x04\x95\x10\x00", "null": lambda _: bytes(500),
}  # fmt: skip


def damaged(folder: Path, form: str, names: list[str], damage: str = "text") -> ImageSet:
    """A set of 60 pictures, some of which are spoilt."""
    write_pictures(folder, count=20)
    for name in names:
        file = folder / name
        file.write_bytes(DAMAGE[damage](file.read_bytes()))
    return open_images(str(folder if form == "folder" else pack(folder)))


def place_of(images: ImageSet, name: str) -> int:
    (place,) = (index for index in range(len(images)) if images.reader.where(int(images.rows[index])).endswith(name))
    return place


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named(tmp_path: Path, form: str, damage: str) -> None:
    images = damaged(tmp_path / "set", form, ["bee/3.png"], damage)
    with pytest.raises(UnreadableImage, match=r"bee/3\.png: the image cannot be read \(.+\)$") as caught:
        images.read(place_of(images, "bee/3.png"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("form", FORMS)
def test_training_goes_on_with_another_of_its_class_and_part(
    tmp_path: Path, form: str, num_workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    images = damaged(tmp_path / "set", form, ["bee/3.png", "bee/4.png"])
    bad = place_of(images, "bee/3.png")
    part = np.array([index for index in range(60) if index % 7])
    assert {bad, bad + 1} <= set(part)
    batches = Batches(images, part, 8, 32, seed=0, augmentation=Augmentation(min_area=1.0, mirror=False), num_workers=num_workers)
    loaded = list(batches.stream(0, 2 * batches.steps_per_epoch))
    in_turn = [index for step in range(len(loaded)) for _, index in batches.samples(step)]
    pixels, labels = (torch.cat(parts) for parts in zip(*loaded, strict=True))
    assert labels.tolist() == images.labels[in_turn].tolist()
    stand_in = next(index for index in range(bad + 2, 60) if index in part)
    shown = [pixels[place] for place, index in enumerate(in_turn) if index in (bad, bad + 1, stand_in)]
    assert len(shown) >= 6
    assert all(torch.allclose(one, shown[0], atol=1e-5) for one in shown)
    # The others are what they would be had nothing happened.
    whole = Batches(open_images(str(write_pictures(tmp_path / "aet", count=20))), part, 8, 32, 0, Augmentation(min_area=1.0, mirror=False))
    (first, _), = whole.stream(0, 1)
    rows = [row for row, (_, index) in enumerate(whole.samples(0)) if index not in (bad, bad + 1)]
    assert torch.equal(first[rows], loaded[0][0][rows])
    again = list(batches.stream(0, len(loaded)))
    assert all(torch.equal(a, b) for a, b in zip((a for a, _ in loaded), (a for a, _ in again), strict=True))
    (printed,) = capsys.readouterr().err.splitlines()
    assert "2 of 60 images so far cannot be read" in printed
    assert all(name in printed for name in ("bee/3.png", "bee/4.png"))


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("form", FORMS)
def test_evaluation_leaves_it_out(tmp_path: Path, form: str, num_workers: int, capsys: pytest.CaptureFixture[str]) -> None:
    images = damaged(tmp_path / "set", form, ["ant/3.png"])
    bad = place_of(images, "ant/3.png")
    indices = [bad, *range(bad + 1, bad + 30)]
    for _ in range(2):
        batches = list(evaluation_batches(images, indices, 32, 8, num_workers))
        assert [len(labels) for _, labels in batches] == [7, 8, 8, 6]
        assert torch.equal(torch.cat([pixels for pixels, _ in batches]), fixed_batch(images, indices[1:], 32)[0])
        assert torch.cat([labels for _, labels in batches]).tolist() == images.labels[indices[1:]].tolist()
    assert [len(labels) for _, labels in evaluation_batches(images, indices, 32, 1, num_workers)] == [1] * 29
    (printed,) = capsys.readouterr().err.splitlines()
    assert "1 of 60 images so far cannot be read" in printed
    assert "ant/3.png" in printed


def test_a_set_of_which_more_than_a_few_are_damaged_is_refused(tmp_path: Path) -> None:
    expected = r"set: got 6 images of 60 that cannot be read, expected at most 5%; replace or remove them: .*ant/1.png \(no image"
    with pytest.raises(DataError, match=expected) as caught:
        damaged(tmp_path / "set", "folder", [f"{name}/{number}.png" for name in COLOURS if name != "train" for number in (1, 5)])
    assert "\n" not in str(caught.value)


def test_damage_that_is_met_later_is_counted_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = damaged(tmp_path / "set", "folder", [])
    for number in (1, 5, 6, 7):
        (tmp_path / "set" / "ant" / f"{number}.png").write_bytes(b"")
    images._decoded.clear()
    batches = Batches(images, np.arange(60), 8, 32, 0)
    with pytest.raises(DataError, match="got 4 images of 60 that cannot be read, expected at most 5%"):
        list(batches.stream(0, batches.steps_per_epoch))
    assert capsys.readouterr().err.count("\n") <= 2


def test_damage_in_a_large_set_is_judged_by_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_set, "MAX_INSPECTED", 20)
    names = [f"{name}/{number}.png" for name in ("ant", "bee", "cow") for number in range(0, 20, 3)]
    with pytest.raises(DataError, match="of 60 that cannot be read"):
        damaged(tmp_path / "set", "folder", names)
    opened: list[int] = []
    monkeypatch.setattr(image_set.EncodedImages, "size", lambda self, row: opened.append(row) or (32, 32))
    monkeypatch.setattr(image_set.EncodedImages, "image", lambda self, row: opened.append(row) or Image.new("L", (32, 32)))
    open_images(str(write_pictures(tmp_path / "whole", count=20)))
    assert len(opened) == 20


def test_a_class_without_a_readable_image_is_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set", count=20)
    write_pictures(tmp_path / "more", ("train",), count=3)
    (tmp_path / "more" / "train").rename(tmp_path / "set" / "dog")
    for number in (0, 1):
        (tmp_path / "set" / "dog" / f"{number}.png").write_bytes(b"?")
    images = open_images(str(tmp_path / "set"))
    with pytest.raises(DataError, match="got no image of the class 'dog' to train on that can be read"):
        list(Batches(images, np.arange(len(images) - 1), 8, 32, 0).stream(0, 10))
    (tmp_path / "set" / "dog" / "2.png").write_bytes(b"?")
    with pytest.raises(DataError, match=r"got no image of the class 'dog' that can be read; replace them: .*dog/0.png.*dog/1.png"):
        open_images(str(tmp_path / "set"))


def test_nothing_left_to_evaluate_on_says_so(tmp_path: Path) -> None:
    images = damaged(tmp_path / "set", "folder", ["ant/3.png"])
    with pytest.raises(DataError, match="got none of 1 images to evaluate on that can be read"):
        list(evaluation_batches(images, [place_of(images, "ant/3.png")], 32))


def test_neither_damaged_nor_odd_images_decide_the_size(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set", count=20, side=60)
    (tmp_path / "set" / "ant" / "0.png").write_bytes(b"")
    Image.new("L", (900, 900)).save(tmp_path / "set" / "ant" / "1.png")
    assert open_images(str(tmp_path / "set")).default_image_size() == 64


def test_damaged_test_images_are_left_out(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set" / "train", count=4)
    write_pictures(tmp_path / "set" / "val", count=8)
    (tmp_path / "set" / "val" / "cow" / "7.png").write_bytes(b"")
    test = open_test_images(str(tmp_path / "set"), None, ("ant", "bee", "cow"))
    assert test is not None
    assert sum(len(labels) for _, labels in evaluation_batches(test, range(len(test)), 32)) == 23


class Failing:
    """Reads nothing, for a reason that lies in the system."""

    def image(self, row: int) -> Image.Image:
        return Image.open(Path("/nonexistent") / str(row))

    def where(self, row: int) -> str:
        return f"image {row}"


def test_what_the_system_refuses_is_no_damage() -> None:
    labels = np.arange(20) % 2
    images = ImageSet("set", ("a", "b"), labels, np.arange(20), Failing())
    with pytest.raises(DataError, match="image 4: the image cannot be read") as caught:
        list(evaluation_batches(images, [4], 32))
    assert not isinstance(caught.value, UnreadableImage)


@pytest.fixture
def breaking_lines(tmp_path: Path) -> Path:
    folder = write_pictures(tmp_path / "set", count=20)
    os.rename(folder / "bee" / "3.png", folder / "bee" / "a\nb.png")
    (folder / "bee" / "a\nb.png").write_bytes(b"")
    return folder


@pytest.mark.parametrize("form", FORMS)
def test_names_of_files_break_no_line(breaking_lines: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    images = open_images(str(breaking_lines if form == "folder" else pack(breaking_lines)))
    list(evaluation_batches(images, range(60), 32))
    assert capsys.readouterr().err.count("\n") == 1
