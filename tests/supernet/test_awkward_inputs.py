"""Folders, tars and image files as they lie on people's disks: which classes and images they give, and which pixels."""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from supernet.data.batches import evaluation_batches
from supernet.data.files import Listing, list_folder, list_tars
from supernet.data.images import open_images, open_test_images
from supernet.data.sources.class_folders import images_in_class_folders
from supernet.data.splits import cautions, split
from supernet.data.unreadable import DataError

FORMS = ("folder", "tar")
Make = Callable[[Path], None]


def encoded(suffix: str = ".png", colour: int = 0, side: int = 8) -> bytes:
    content = io.BytesIO()
    rng = np.random.default_rng([colour, side])
    Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(content, Image.registered_extensions()[suffix])
    return content.getvalue()


def tree() -> dict[str, bytes]:
    """Two classes of six images each, by path."""
    return {f"{name}/{number}.png": encoded(colour=number) for name in ("cat", "dog") for number in range(6)}


def write(root: Path, files: Mapping[str, bytes]) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def stored(root: Path, form: str, above: str = "") -> Path:
    """The folder, or a tar with all that is in it: folders and links, too."""
    if form == "folder":
        return root
    with tarfile.open(root.with_suffix(".tar"), "w") as tar:
        for child in sorted(root.iterdir()):
            tar.add(child, f"{above}{child.name}")
    return root.with_suffix(".tar")


def renamed(**suffixes: str) -> dict[str, bytes]:
    """Images of other formats in the classes named, and `.png` in the others."""
    return {
        str(PurePosixPath(path).with_suffix(suffix)): encoded(suffix.lower())
        for path in tree()
        for suffix in [suffixes.get(path.partition("/")[0], ".png")]
    }


BOTH = {"cat": 6, "dog": 6}
PNG = encoded()
TWIN = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X" + bytes(80)

READ: dict[str, tuple[dict[str, bytes], dict[str, int], str]] = {
    # What lies there, what is read of it, and what is said.
    "plain": (tree(), BOTH, ""),
    "hidden folder in a class": (tree() | {"cat/.ipynb_checkpoints/0.png": PNG}, BOTH, "hidden: 1, such as cat/.ipynb_checkpoints"),
    "hidden folder at the top": (tree() | {".Trash-1/files/0.png": PNG, ".Trash-1/files/1.png": PNG}, BOTH, "hidden: 1, such as .Trash-1"),
    "a Mac's twins": (tree() | {f"{name}/._0.png": TWIN for name in BOTH} | {".DS_Store": b"Bud1"}, BOTH, "hidden: 3"),
    "an unpacked zip of a Mac's": (tree() | {"__MACOSX/cat/._0.png": TWIN, "__MACOSX/cat/0.png": PNG}, BOTH, "hidden: 1, such as __MACOSX"),
    "a network drive's previews": (tree() | {"cat/@eaDir/0.png/SYNOPHOTO.jpg": PNG}, BOTH, "hidden: 1"),
    "years below classes": ({f"{name}/{2000 + n}/{n}.png": PNG for name in BOTH for n in range(6)}, BOTH, ""),
    "one class with folders": (tree() | {f"dog/puppies/{n}.png": PNG for n in range(3)}, {"cat": 6, "dog": 9}, ""),
    "a folder called like an image": (tree() | {"cat/9.png/data.png": PNG}, {"cat": 7, "dog": 6}, ""),
    "images beside class folders": (tree() | {"sheet.png": PNG}, BOTH, "beside the class folders: 1 images, such as sheet.png"),
    "a class of webp": (renamed(dog=".webp"), BOTH, ""),
    "tiff, bmp and gif": (renamed(cat=".tif", dog=".bmp") | {"fox/1.gif": encoded(".gif")}, BOTH | {"fox": 1}, ""),
    "mixed suffixes": (tree() | {"cat/9.avif": PNG, "dog/9.jfif": PNG, "dog/10.ppm": PNG}, {"cat": 7, "dog": 8}, ""),
    "capital suffixes": (renamed(dog=".JPG"), BOTH, ""),
    "no suffixes": ({path.removesuffix(".png"): content for path, content in tree().items()}, BOTH, ""),
    "dots for suffixes": (tree() | {"cat/2020-01-01 10.20.30": PNG, "cat/9.png.1": PNG}, {"cat": 8, "dog": 6}, ""),
    "other files": (tree() | {"cat/LICENSE": b"free", "cat/0.txt": b"", "cat/1.txt": b""}, BOTH, "no images: 2 .txt, 1 without suffix"),
    "half-downloaded files": (tree() | {"cat/9.png.crdownload": PNG}, BOTH, "1 .crdownload"),
    "splits": ({f"train/{p}": c for p, c in tree().items()} | {"val/cat/0.png": PNG, "other/x/0.png": PNG}, BOTH, "beside train/: other/"),
    "splits in capitals": ({f"Train/{p}": c for p, c in tree().items()} | {"Test/cat/0.png": PNG, "README.md": b""}, BOTH, ""),
    "a split with a loose image": ({f"train/{p}": c for p, c in tree().items()} | {"train/x.png": PNG}, BOTH, "class folders: 1 images"),
    "a split with loose images beside others": ({f"train/{p}": c for p, c in tree().items()} | {"train/x.png": PNG, "val/cat/0.png": PNG,
                                                "unlabelled/0.png": PNG}, BOTH, "passed over beside train/: unlabelled/"),
    "classes called like splits": (tree() | {"test/0.png": PNG, "train/0.png": PNG}, BOTH | {"test": 1, "train": 1}, ""),
    "a class called train with folders": (tree() | {"train/0.png": PNG, "train/a/1.png": PNG}, BOTH | {"train": 2}, ""),
    "a test part beside classes": (tree() | {"test/cat/0.png": PNG}, BOTH, ""),
    "numbers": ({f"{name}/{n}.png": PNG for name in (10, 9, 1) for n in range(4)}, {"1": 4, "9": 4, "10": 4}, ""),
    "capitals": (tree() | {"Cat/0.png": PNG}, BOTH | {"Cat": 1}, "'Cat' and 'cat'"),
    "spaces and scripts": ({f"{name}/a b.{n}.png": PNG for name in ("ö ü", "日本 🍣") for n in range(5)}, {"ö ü": 5, "日本 🍣": 5}, ""),
    "dashes and line ends": ({f"{name}/{n}.png": PNG for name in ("-rf", "two\nlines") for n in range(5)}, {"-rf": 5, "two\nlines": 5}, ""),
    "accents of Linux and macOS": ({f"{name}/{n}.png": PNG for name in ("caf\u00e9", "tea") for n in range(5)} | {"cafe\u0301/9.png": PNG},
                                   {"caf\u00e9": 6, "tea": 5}, ""),
}  # fmt: skip

REFUSED: dict[str, tuple[dict[str, bytes], str]] = {
    "a class of heic": (tree() | {f"fox/{n}.HEIC": b"\x00\x00\x00\x18ftypheic" for n in range(4)}, r"class folders 'fox' \(4 .heic\)"),
    "a class of text": (tree() | {"fox/README": b"x"}, r"'fox' \(1 without suffix\)"),
    "an empty class": (tree() | {"fox/.keep": b""}, r"'fox' \(empty\)"),
    "an empty class with test images": ({f"train/{p}": c for p, c in tree().items()} | {"train/fox/.keep": b"", "val/fox/0.png": PNG},
                                        r"train: got no image that Pillow reads in the class folders 'fox' \(empty\)"),
    "no class folders": ({f"{n}.png": PNG for n in range(20)}, "got 20 images outside folders, expected a folder a class"),
    "a table beside images": ({f"{n}.png": PNG for n in range(20)} | {"labels.csv": b"x"}, "if .*labels.csv holds the classes, give that"),
    "no images": ({"cat/1.txt": b"", "dog/2.txt": b""}, r"got no images \(2 .txt\)"),
    "a test part alone": ({"val/cat/0.png": PNG, "val/dog/0.png": PNG}, "got val without train"),
    "classes or a split": (tree() | {"train/a/0.png": PNG, "train/b/0.png": PNG}, "the folder train of folders beside .* cat, dog"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", READ)
def test_what_is_read(case: str, form: str, tmp_path: Path) -> None:
    files, expected, said = READ[case]
    images = open_images(str(stored(write(tmp_path / "set", files), form)))
    assert images.images_by_class == expected
    assert list(images.class_names) == list(images.images_by_class)
    if said:
        assert any(re.search(said, remark) for remark in images.remarks), images.remarks
    assert all("\n" not in line for line in (*images.remarks, images.summary))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str, form: str, tmp_path: Path) -> None:
    files, said = REFUSED[case]
    with pytest.raises(DataError, match=said) as caught:
        open_images(str(stored(write(tmp_path / "set", files), form)))
    assert "\n" not in str(caught.value)


def test_the_folders_of_an_only_class_are_not_taken_for_classes(tmp_path: Path) -> None:
    write(tmp_path / "set", {f"flowers/{path}": content for path, content in tree().items()})
    with pytest.raises(DataError, match=r"got images of 1 class, 'flowers', .* give .*/set/flowers$"):
        open_images(str(tmp_path / "set"))


@pytest.mark.parametrize("above", ["set/", "./", "./a/b/"])
@pytest.mark.parametrize("splits", [False, True])
def test_a_tars_outer_folder_is_left_out(splits: bool, above: str, tmp_path: Path) -> None:
    files = {f"train/{path}": content for path, content in tree().items()} | {"val/dog/0.png": PNG} if splits else tree()
    source = stored(write(tmp_path / "set", files), "tar", above)
    images = open_images(str(source))
    assert images.images_by_class == BOTH
    test = open_test_images(images, None, images.class_names)
    assert (test.images_by_class if test else None) == ({"cat": 0, "dog": 1} if splits else None)


@pytest.mark.parametrize("where", ["folder", "tar"])
def test_tars_inside_are_folders(where: str, tmp_path: Path) -> None:
    write(tmp_path / "set", tree())
    for name in BOTH:
        stored(tmp_path / "set" / name, "tar").rename(tmp_path / f"{name}.tar")
    (tmp_path / "tars").mkdir()
    for name in BOTH:
        (tmp_path / f"{name}.tar").rename(tmp_path / "tars" / f"{name}.tar")
    images = open_images(str(stored(tmp_path / "tars", where)))
    assert images.images_by_class == BOTH
    assert (np.asarray(images.read(7)) == np.asarray(Image.open(tmp_path / "set/dog/1.png"))).all()


# Links --------------------------------------------------------------------------------------------------------------------------------


def test_links_are_followed_and_no_image_counts_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write(tmp_path / "set", tree())
    (root / "dog").rename(tmp_path / "elsewhere")
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "cat/again.png").symlink_to(root / "cat/0.png")
    (root / "cat/loop").symlink_to(root)
    write(tmp_path, {"store/blob": PNG})
    (root / "cat/annexed.png").symlink_to(tmp_path / "store/blob")
    images = open_images(str(root))
    assert images.images_by_class == {"cat": 7, "dog": 6}
    assert "links to nothing, or to what is listed" in images.remarks[0]
    assert "cat/again.png, cat/loop" in images.remarks[0]
    assert not capsys.readouterr().err


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("are_folders", [False, True])
def test_splits_may_be_links_into_a_common_store(are_folders: bool, form: str, tmp_path: Path) -> None:
    root = write(tmp_path / "set", {f"all/{path}": content for path, content in tree().items()})
    for part, numbers in (("train", range(5)), ("val", range(5, 6))):
        for name in BOTH:
            (root / part / name).mkdir(parents=True)
            for number in numbers:
                (root / part / name / f"{number}.png").symlink_to(f"../../all/{name}/{number}.png")
    if are_folders:
        (root / "train").rename(root / "links")
        (root / "train").mkdir()
        for name in BOTH:
            (root / "train" / name).symlink_to(f"../all/{name}")
    images = open_images(str(stored(root, form)))
    assert images.images_by_class == (BOTH if are_folders else {"cat": 5, "dog": 5})
    test = open_test_images(images, None, images.class_names)
    assert test is not None
    assert test.images_by_class == {"cat": 1, "dog": 1}
    assert images.read(3).tobytes() == Image.open(root / "all/cat/3.png").tobytes()


def test_a_class_by_two_names_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "set", tree())
    (root / "a kitty").symlink_to(root / "cat")
    with pytest.raises(DataError, match="class folders 'a kitty'"):
        open_images(str(root))


@pytest.mark.parametrize("form", FORMS)
def test_a_link_to_nothing_is_a_damaged_image(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write(tmp_path / "set", tree())
    (root / "cat/z.png").symlink_to("/nowhere/at/all.png")
    images = open_images(str(stored(root, form)))
    (printed,) = capsys.readouterr().err.splitlines()
    assert "1 of 13 images" in printed
    assert "cat/z.png (a link to nothing)" in printed
    assert sum(len(labels) for _, labels in evaluation_batches(images, range(13), 32)) == 12


@pytest.mark.parametrize("form", FORMS)
def test_a_class_that_is_a_link_to_nothing_is_named(form: str, tmp_path: Path) -> None:
    root = write(tmp_path / "set", tree())
    (root / "fox").symlink_to("/nowhere/fox")
    with pytest.raises(DataError, match="class folders 'fox'"):
        open_images(str(stored(root, form)))


def test_hard_links_in_a_tar_are_images(tmp_path: Path) -> None:
    root = write(tmp_path / "set", tree())
    os.link(root / "cat/0.png", root / "cat/same.png")
    images = open_images(str(stored(root, "tar")))
    assert images.images_by_class == {"cat": 7, "dog": 6}
    assert images.read(0).tobytes() == images.read(6).tobytes()


# Cut-off and packed files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [0.3, 0.7])
def test_a_tar_that_is_cut_off_is_refused(end: float, tmp_path: Path) -> None:
    source = stored(write(tmp_path / "set", tree()), "tar")
    whole = source.read_bytes()
    for place in (int(len(whole) * end), int(len(whole) * end) // 512 * 512):
        source.write_bytes(whole[:place])
        with pytest.raises(DataError, match=r"set.tar: not a whole, uncompressed tar"):
            open_images(str(source))


def test_a_damaged_header_in_a_tar_is_no_end(tmp_path: Path) -> None:
    source = stored(write(tmp_path / "set", tree()), "tar")
    whole = bytearray(source.read_bytes())
    with tarfile.open(source) as tar:
        place = tar.getmembers()[-2].offset
    whole[place : place + 300] = b"x" * 300
    source.write_bytes(bytes(whole))
    with pytest.raises(DataError, match="damaged or cut off at byte"):
        open_images(str(source))


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz", "set.tgz"])
def test_a_packed_file_says_so(name: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / name, "w:gz") as tar:
        tar.add(write(tmp_path / "set", tree()), "set")
    with pytest.raises(DataError, match=r"unpack it$"):
        open_images(str(tmp_path / name))


# Little data ---------------------------------------------------------------------------------------------------------------------------


def test_classes_that_cannot_be_judged_are_named(tmp_path: Path) -> None:
    images = open_images(str(write(tmp_path / "set", tree() | {"fox/0.png": PNG})))
    lines = list(cautions(images, split(images, 0)))
    assert any(line == "too few images to be judged: classes fox" for line in lines)
    assert any(line.startswith("few images to judge on: accuracies on 2 ") for line in lines)
    digits = open_images("digits")
    assert not list(cautions(digits, split(digits, 0)))
    assert images.summary == "13 images of 3 classes, 1 (fox) to 6 (cat) a class, median 6"


# Pixels ---------------------------------------------------------------------------------------------------------------------------------


def image_file(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


RAMP = np.repeat(np.linspace(0, 1, 256)[None], 16, 0)
COLOUR = (200, 40, 60)
PLAIN = Image.new("RGB", (16, 16), COLOUR)
TURNED = Image.Exif()
TURNED[0x0112] = 6
HALF_CLEAR = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
HALF_CLEAR.paste((0, 0, 255, 255), (8, 0, 16, 16))
PALETTE = HALF_CLEAR.convert("RGB").quantize(4)
CLEAR_INDEX = PALETTE.getpixel((0, 0))


def near(expected: object, tolerance: int = 0) -> Callable[[np.ndarray], bool]:
    return lambda pixels: bool((np.abs(pixels.astype(int) - np.asarray(expected)) <= tolerance).all())


def is_ramp(pixels: np.ndarray) -> bool:
    return bool((pixels == np.round(255 * RAMP)[..., None]).all())


def is_blue_on_white(pixels: np.ndarray) -> bool:
    return bool((pixels[:, :8] == 255).all() and (pixels[:, 8:] == (0, 0, 255)).all())


def tiff12() -> bytes:
    """A TIFF of 12 bits a pixel, which Pillow does not write: two pixels in three bytes."""
    levels = np.round(RAMP * 4095).astype(int).reshape(-1, 2)
    packed = np.stack([levels[:, 0] >> 4, (levels[:, 0] & 15) << 4 | levels[:, 1] >> 8, levels[:, 1] & 255], 1).astype(np.uint8).tobytes()
    entries = [(256, 4, 256), (257, 4, 16), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 122), (277, 3, 1), (278, 4, 16),
               (279, 4, len(packed))]  # fmt: skip
    header = b"II*\0" + (8).to_bytes(4, "little") + len(entries).to_bytes(2, "little")
    body = b"".join(tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + (1).to_bytes(4, "little") + value.to_bytes(4, "little")
                    for tag, kind, value in entries)  # fmt: skip
    return header + body + bytes(122 - len(header) - len(body)) + packed


SHOWN: dict[str, tuple[bytes, Callable[[np.ndarray], bool]]] = {
    "turned by EXIF, jpeg": (image_file(Image.new("RGB", (40, 20)), "JPEG", exif=TURNED), lambda pixels: pixels.shape == (40, 20, 3)),
    "turned by EXIF, png": (image_file(Image.new("RGB", (40, 20)), exif=TURNED), lambda pixels: pixels.shape == (40, 20, 3)),
    "turned by EXIF, webp": (image_file(Image.new("RGB", (40, 20)), "WEBP", exif=TURNED), lambda pixels: pixels.shape == (40, 20, 3)),
    "turned by EXIF, tiff": (image_file(Image.new("RGB", (40, 20)), "TIFF", exif=TURNED), lambda pixels: pixels.shape == (40, 20, 3)),
    "damaged EXIF": (image_file(PLAIN, exif=b"Exif\0\0nonsense"), near(COLOUR)),
    "16-bit png": (image_file(Image.fromarray(np.round(RAMP * 65535).astype(np.uint16))), is_ramp),
    "16-bit tiff": (image_file(Image.fromarray(np.round(RAMP * 65535).astype(np.uint16)), "TIFF"), is_ramp),
    "16-bit, dark": (image_file(Image.fromarray(np.round(RAMP * 4095).astype(np.uint16))), lambda pixels: len(np.unique(pixels)) == 17),
    "16-bit pgm": (b"P5 256 16 65535\n" + np.round(RAMP * 65535).astype(">u2").tobytes(), is_ramp),
    "12-bit pgm": (b"P5 256 16 4095\n" + np.round(RAMP * 4095).astype(">u2").tobytes(), lambda pixels: len(np.unique(pixels)) > 250),
    "12-bit tiff": (tiff12(), lambda pixels: len(np.unique(pixels)) > 250),
    "float tiff": (image_file(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), is_ramp),
    "1 bit": (image_file(PLAIN.convert("L").point(lambda _: 255).convert("1")), near(255)),
    "grey and alpha": (image_file(Image.new("LA", (8, 8), (0, 0))), near(255)),
    "transparent": (image_file(HALF_CLEAR), is_blue_on_white),
    "transparent webp": (image_file(HALF_CLEAR, "WEBP", lossless=True, exact=True), is_blue_on_white),
    "transparent palette": (image_file(PALETTE, transparency=CLEAR_INDEX), is_blue_on_white),
    "transparent colour": (image_file(HALF_CLEAR.convert("RGB"), transparency=(255, 0, 0)), is_blue_on_white),
    "palette": (image_file(PLAIN.quantize(8)), near(COLOUR)),
    "cmyk jpeg": (image_file(PLAIN.convert("CMYK"), "JPEG"), near(COLOUR, 12)),
    "lab": (image_file(PLAIN.convert("YCbCr"), "JPEG"), near(COLOUR, 6)),
    "moving": (image_file(PLAIN, "GIF", save_all=True, append_images=[Image.new("RGB", (16, 16))]), near(COLOUR)),
    "another kind than its name": (image_file(PLAIN, "BMP"), near(COLOUR)),
    "sRGB profile": (image_file(PLAIN, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()), near(COLOUR)),
    "damaged profile": (image_file(PLAIN, icc_profile=b"nonsense"), near(COLOUR)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", SHOWN)
def test_pixels_are_what_a_viewer_shows(case: str, form: str, tmp_path: Path) -> None:
    content, is_right = SHOWN[case]
    images = open_images(str(stored(write(tmp_path / "set", tree() | {"cat/0.png": content}), form)))
    pixels = np.asarray(images.read(0))
    assert pixels.dtype == np.uint8
    assert pixels.shape[2:] == (3,)
    assert is_right(pixels), pixels[0, :20]


def test_colour_profiles_are_brought_to_srgb(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # One whose red is sRGB's blue.
    profile = profile.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    profile = profile.replace(b"rXYZ", b"none").replace(b"bXYZ", b"rXYZ").replace(b"none", b"bXYZ")
    content = image_file(PLAIN, icc_profile=profile)
    images = open_images(str(write(tmp_path / "set", tree() | {"cat/0.png": content})))
    assert near(COLOUR[::-1], 2)(np.asarray(images.read(0)))


UNKNOWN: dict[str, tuple[bytes, str]] = {
    "float beyond 1": (image_file(Image.fromarray((RAMP * 300).astype(np.float32)), "TIFF"), "got levels from 0 to 300, expected 0 to 1"),
    "float below 0": (image_file(Image.fromarray((RAMP - 1).astype(np.float32)), "TIFF"), "got levels from -1 to 0, expected 0 to 1"),
    "no numbers": (image_file(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF"), "got levels from nan"),
    "32-bit": (image_file(Image.fromarray(np.full((8, 8), 70_000, np.int32)), "TIFF"), "32-bit whole numbers, whose range is not known"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n%%EOF\n", "no image that Pillow knows"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_levels_of_unknown_range_are_named(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, said = UNKNOWN[case]
    open_images(str(write(tmp_path / "set", tree() | {"cat/0.png": content})))
    (printed,) = capsys.readouterr().err.splitlines()
    assert "cat/0.png" in printed
    assert said in printed


# Any tree -------------------------------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(("a", "B", "2", "10", ".x", "._a", "__MACOSX", "é", "a b", "deep"))
SUFFIXES = st.sampled_from((".png", ".JPG", ".webp", ".tiff", ".gif", ".txt", ".heic", ".json", ""))
PATHS = st.tuples(st.lists(NAMES, max_size=3), NAMES, SUFFIXES).map(lambda path: "/".join((*path[0], path[1] + "-" + path[2])))


def rule(paths: set[str]) -> tuple[Counter[str], set[str]]:
    """Images by class, and class folders without one: the rule in the fewest words."""
    def is_hidden(name: str) -> bool:
        return name.startswith(".") or name == "__MACOSX"

    visible = [path.split("/") for path in paths if not any(map(is_hidden, path.split("/")))]
    folders = {path.split("/")[0] for path in paths if "/" in path and not is_hidden(path.split("/")[0])}
    known = (".png", ".jpg", ".webp", ".tiff", ".gif")
    counts = Counter(names[0] for names in visible if len(names) > 1 and names[-1].lower().endswith(known))
    return counts, folders - counts.keys()


@given(st.sets(PATHS, max_size=25), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tree_follows_the_rule(tmp_path_factory: pytest.TempPathFactory, paths: set[str], is_split: bool) -> None:
    folders = {"/".join(path.split("/")[:depth]) for path in paths for depth in range(1, path.count("/") + 1)}
    assume(not folders & paths)
    counts, empty = rule(paths)
    root = tmp_path_factory.mktemp("tree") / "set"
    write(root / "train" if is_split else root, dict.fromkeys(paths, b""))
    root.mkdir(exist_ok=True)
    for listing in (list_folder(root), list_tars([("", str(stored(root, "tar")))])):
        assert classes_of(listing) == (None if empty or len(counts) < 2 else counts)


def classes_of(listing: Listing) -> dict[str, int] | None:
    """Images by class; None where they are refused, be it here or for being of one class."""
    try:
        found = images_in_class_folders(listing, "train", "set")
    except DataError:
        return None
    assert found is not None
    return found.images_by_class if found.num_classes > 1 else None
