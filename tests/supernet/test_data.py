"""What `--data` takes, and what it makes of it."""

from __future__ import annotations

import multiprocessing
import pickle
import random
import threading
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from supernet.data.batches import Augmentation, Batches, evaluation_batches, fixed_batch
from supernet.data.image_set import _opened_again
from supernet.data.images import ImageSet, open_images, open_test_images
from supernet.data.splits import split
from supernet.data.unreadable import DataError
from tests.pictures import COLOURS, pack, write_pictures

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 12, 10, 3), dtype=np.uint8)
FORMS = ("folder", "tar")


@cache
def open_digits() -> ImageSet:
    return open_images("digits")


def stored(folder: Path, form: str) -> str:
    return str(folder if form == "folder" else pack(folder))


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_a_class(tmp_path: Path, form: str) -> None:
    images = open_images(stored(write_pictures(tmp_path / "set"), form))
    assert images.class_names == ("ant", "bee", "cow")
    assert Counter(images.labels.tolist()) == {0: 6, 1: 6, 2: 6}
    for index in range(len(images)):
        colour = np.asarray(images.read(index)).mean((0, 1))
        assert np.abs(colour - COLOURS[images.class_names[images.labels[index]]]).max() < 10


@pytest.mark.parametrize("form", FORMS)
def test_train_and_val_above_the_classes(tmp_path: Path, form: str) -> None:
    write_pictures(tmp_path / "set" / "train", count=5)
    write_pictures(tmp_path / "set" / "val", ("cow", "ant"), count=2)
    source = stored(tmp_path / "set", form)
    images = open_images(source)
    assert len(images) == 15
    test = open_test_images(source, None, images.class_names)
    assert test is not None
    assert Counter(test.labels.tolist()) == {0: 2, 2: 2}
    where = [str(test.reader.where(row)) for row in test.rows]
    assert all("val/" in place for place in where)
    assert not any("val/" in str(images.reader.where(row)) for row in images.rows)


@pytest.mark.parametrize("form", FORMS)
def test_a_class_may_be_called_train(tmp_path: Path, form: str) -> None:
    source = stored(write_pictures(tmp_path / "set", ("cow", "train")), form)
    images = open_images(source)
    assert images.class_names == ("cow", "train")
    assert len(images) == 12
    assert open_test_images(source, None, images.class_names) is None


@pytest.mark.parametrize("form", FORMS)
def test_labels_of_test_images_go_by_name(tmp_path: Path, form: str) -> None:
    images = open_images(str(write_pictures(tmp_path / "train")))
    test = open_test_images(images.source, stored(write_pictures(tmp_path / "other", ("cow", "bee"), 2), form), images.class_names)
    assert test is not None
    assert test.class_names == images.class_names
    assert sorted(test.labels.tolist()) == [1, 1, 2, 2]


def test_a_test_source_with_a_test_part_gives_that_part(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set" / "train")
    write_pictures(tmp_path / "set" / "val", count=1)
    test = open_test_images("digits", str(tmp_path / "set"), ("ant", "bee", "cow"))
    assert test is not None
    assert len(test) == 3


def test_training_images_are_no_test_images(tmp_path: Path) -> None:
    source = str(write_pictures(tmp_path / "set"))
    with pytest.raises(DataError, match="got the training data as test data"):
        open_test_images(source, f"{tmp_path}/../{tmp_path.name}/set", ("ant", "bee", "cow"))


def test_unknown_classes_among_test_images(tmp_path: Path) -> None:
    write_pictures(tmp_path / "test", ("ant", "cow"))
    with pytest.raises(DataError, match=r"got images of 'cow', expected only classes of train"):
        open_test_images("train", str(tmp_path / "test"), ("ant", "bee"))


def _missing(path: Path) -> None:
    pass


def _empty(path: Path) -> None:
    path.mkdir()


def _one_class(path: Path) -> None:
    write_pictures(path, ("ant",), count=12)


def _few(path: Path) -> None:
    write_pictures(path, count=2)


def _text(path: Path) -> None:
    path.write_text("not images")


@pytest.mark.parametrize(
    ("make", "name", "said"),
    [
        (_missing, "set", "no such file or folder"),
        (_missing, "tfds/mnist", "got a streamed set"),
        (_missing, "torch/none", "cannot be opened .*none"),
        (_empty, "set", "got no images"),
        (_one_class, "set", "got images of 1 class"),
        (_few, "set", "got 6 images, expected at least 10"),
        (_text, "set.zip", "expected a folder or an uncompressed .tar"),
        (_text, "set.tar", "not a whole, uncompressed tar"),
    ],
)
def test_sources_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: object, name: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    if callable(make):
        make(tmp_path / name)
    with pytest.raises(DataError, match=said) as caught:
        open_images(name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_digits() -> None:
    images = open_images("digits")
    test = open_test_images("digits", None, images.class_names)
    assert test is not None
    assert images.class_names == tuple("0123456789")
    assert len(images) + len(test) == 1797
    assert not set(images.rows) & set(test.rows)
    shares = np.bincount(test.labels) / (np.bincount(test.labels) + np.bincount(images.labels))
    assert np.abs(shares - 0.2).max() < 0.01
    assert not images.mirror
    assert images.default_image_size() == 32
    theirs = load_digits()
    for part in (images, test):
        assert (theirs.target[part.rows] == part.labels).all()
        assert all((np.asarray(part.read(i))[..., 0] == np.round(theirs.images[part.rows[i]] * 255 / 16)).all() for i in range(len(part)))


@pytest.mark.parametrize(("side", "expected"), [(8, 32), (32, 32), (33, 64), (100, 128), (300, 224)])
def test_default_image_size(tmp_path: Path, side: int, expected: int) -> None:
    assert open_images(str(write_pictures(tmp_path / "set", count=4, side=side))).default_image_size() == expected


@given(st.lists(st.integers(1, 40), min_size=2, max_size=8), st.integers(0, 5))
def test_splits(counts: list[int], seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    images = ImageSet("set", tuple(map(str, range(len(counts)))), labels, np.arange(len(labels)), reader=None)  # type: ignore[arg-type]
    parts = split(images, seed)
    together = np.concatenate([parts.train, parts.search, parts.calibration])
    assert sorted(together) == list(range(len(labels)))
    assert len(parts.search) == len(labels) // 5
    assert len(parts.calibration) == len(labels) // 10
    assert set(labels[parts.train]) == set(range(len(counts)))
    # In proportion, to within what rounding a class takes from the others.
    for label, count in enumerate(counts):
        assert abs((labels[parts.search] == label).sum() - count / 5) <= 1 + len(counts) / 5
    again = split(images, seed)
    assert all(np.array_equal(getattr(parts, name), getattr(again, name)) for name in ("train", "search", "calibration"))


def test_seeds_split_differently() -> None:
    images = open_images("digits")
    assert not np.array_equal(split(images, 0).search, split(images, 1).search)


def test_a_split_that_leaves_too_little() -> None:
    with pytest.raises(DataError, match="expected at most half of its 1433"):
        split(open_images("digits"), 0, num_search=1000)


STRONG = Augmentation(0.1, True, 0.3, "rand-m9-mstd0.5-mmax9-inc1", 0.5)


@pytest.mark.parametrize("augmentation", [Augmentation(), STRONG])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_batch_depends_on_seed_and_step_alone(tmp_path: Path, augmentation: Augmentation, num_workers: int) -> None:
    images = open_images(str(write_pictures(tmp_path / "set")))
    indices = np.arange(2, 18)
    whole = list(Batches(images, indices, 6, 32, 7, augmentation).stream(0, 6))
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    later = list(Batches(images, indices, 6, 32, 7, augmentation, num_workers).stream(3, 5))
    for ours, theirs in zip(whole[3:5], later, strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])
    other = next(Batches(images, indices, 6, 32, 8, augmentation).stream(0, 1))
    assert not torch.equal(other[0], whole[0][0])


def _load(source: str, loaded: Any) -> None:
    loaded.put([images_BCHW.sum().item() for images_BCHW, _ in evaluation_batches(open_images(source), range(18), 96, 6, 2)])


def test_a_daemonic_process_loads_by_itself(tmp_path: Path) -> None:
    source = str(write_pictures(tmp_path / "set"))
    context = multiprocessing.get_context("spawn")
    loaded = context.Queue()
    process = context.Process(target=_load, args=(source, loaded), daemon=True)
    process.start()
    process.join()
    assert process.exitcode == 0
    ours = [images_BCHW.sum().item() for images_BCHW, _ in evaluation_batches(open_images(source), range(18), 96, 6)]
    assert loaded.get(timeout=60) == pytest.approx(ours, rel=1e-4)


def test_loading_leaves_the_callers_random_numbers_alone() -> None:
    images = open_images("digits")
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    list(Batches(images, np.arange(50), 8, 32, 0, STRONG).stream(0, 2))
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])


@given(st.integers(1, 30), st.integers(1, 40))
def test_an_epoch_draws_every_image_once(total: int, batch_size: int) -> None:
    images = open_digits()
    batches = Batches(images, np.arange(total) * 3, batch_size, 32, 0)
    steps = 3 * total
    drawn = [index for step in range(steps) for _, index in batches.samples(step)]
    assert len(drawn) == steps * batch_size
    for epoch in range(len(drawn) // total):
        assert sorted(drawn[epoch * total : (epoch + 1) * total]) == [3 * index for index in range(total)]
    assert (batches.steps_per_epoch - 1) * batch_size < total <= batches.steps_per_epoch * batch_size


def test_fixed_batches_are_whole_images_normalised(tmp_path: Path) -> None:
    images = open_images(str(write_pictures(tmp_path / "set")))
    pixels, labels = fixed_batch(images, [0, 7, 17], 32)
    assert pixels.shape == (3, 3, 32, 32)
    assert pixels.dtype == torch.float32
    assert labels.tolist() == images.labels[[0, 7, 17]].tolist()
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    expected = torch.from_numpy(np.asarray(images.read(7)).copy()).permute(2, 0, 1) / 255
    torch.testing.assert_close(pixels[1] * std + mean, expected)


def test_evaluation_reads_every_image_in_order() -> None:
    images = open_digits()
    batches = list(evaluation_batches(images, range(10), 32, batch_size=4))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    pixels, labels = fixed_batch(images, range(10), 32)
    assert torch.equal(torch.cat([batch for batch, _ in batches]), pixels)
    assert torch.equal(torch.cat([label for _, label in batches]), labels)


def test_digits_are_never_mirrored() -> None:
    images = open_digits()
    whole = Augmentation(min_area=1.0)
    (pixels, _), = Batches(images, np.array([3]), 32, 32, 0, whole).stream(0, 1)
    mirrored = fixed_batch(images, [3], 32)[0].flip(-1)
    upright = fixed_batch(images, [3], 32)[0]
    for drawn in pixels:
        assert (drawn - upright[0]).abs().mean() < (drawn - mirrored[0]).abs().mean()


class Own:
    """A dataset as a caller writes one; `form` says what its images are."""

    classes = ("ant", "bee", "cow")

    def __init__(self, form: str = "pil", **fields: object) -> None:
        self.form = form
        self.decoded = 0
        self.__dict__.update(fields)

    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, index: int) -> tuple[object, int]:
        self.decoded += 1
        pixels = PIXELS[index]
        made = {
            "pil": lambda: Image.fromarray(pixels), "array": lambda: pixels, "tensor": lambda: torch.from_numpy(pixels).permute(2, 0, 1),
            "chw": lambda: pixels.transpose(2, 0, 1), "float": lambda: torch.rand(3, 8, 8), "odd": lambda: pixels[..., :2],
        }  # fmt: skip
        return made[self.form](), index % 3


@pytest.mark.parametrize("form", ["pil", "array", "tensor", "chw"])
def test_a_callers_dataset_is_read_as_it_is(form: str) -> None:
    images = open_images(Own(form))
    assert images.class_names == Own.classes
    assert images.labels.tolist() == [0, 1, 2] * 10
    assert all((np.asarray(images.read(i)) == PIXELS[i]).all() for i in range(30))
    assert images.source == "a dataset of the caller's, Own"
    assert open_images(images) is images
    assert open_test_images(images, None, images.class_names) is None
    batches = list(evaluation_batches(images, range(30), 32, 7))
    assert torch.equal(torch.cat([labels for _, labels in batches]), torch.tensor([0, 1, 2] * 10))


def test_labels_of_a_callers_dataset_need_no_decoding() -> None:
    own = Own(targets=torch.tensor([0, 1, 2] * 10))
    assert open_images(own).labels.tolist() == [0, 1, 2] * 10
    assert own.decoded == 1


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (Own("float"), "got an image of float32, expected a PIL image or uint8 pixels; leave out transforms"),
        (Own("odd"), r"got pixels of shape \(12, 10, 2\), expected"),
        (Own(targets=[0, 1]), "got 2 targets of 30 images"),
        (Own(targets=[0, 1, 3] * 10), "expected whole numbers from 0 to 2"),
        (Own(targets=[0.5] * 30), "expected whole numbers from 0 to 2"),
        (Own(targets=[0] * 30), "got images of 1 class"),
        (object(), "got object, expected a path, the name of a set, or an object of"),
        (3, "got int, expected a path"),
    ],
)
def test_objects_that_are_no_datasets_are_refused(own: object, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        open_images(own)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_callers_test_images_are_numbered_by_class_name() -> None:
    training, test = Own(), Own(classes=("cow", "ant", "bee"))
    found = open_test_images(open_images(training), test, Own.classes)
    assert found is not None
    assert found.labels.tolist() == [2, 0, 1] * 10
    with pytest.raises(DataError, match="got the training data as test data"):
        open_test_images(open_images(training), training, Own.classes)
    with pytest.raises(DataError, match="got images of 'dog', expected only classes of the training data"):
        open_test_images(open_images(training), Own(classes=("ant", "bee", "dog")), Own.classes)


def test_a_dataset_is_known_by_name_number_classes_and_labels(tmp_path: Path) -> None:
    one = open_images(Own()).identity
    assert one == open_images(Own("array")).identity
    others = (Own(targets=[1, 0, 2] * 10), Own(classes=("ant", "bee", "cat")), type("Other", (Own,), {})())
    assert len({one, *(open_images(other).identity for other in others)}) == 4
    assert one.startswith("a dataset of the caller's, Own: 30 images of 3 classes, ")
    folder = str(write_pictures(tmp_path / "set" / "train").parent)
    assert open_images(folder).identity == folder


def test_a_set_travels_small_and_is_the_same_there(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write_pictures(folder / "train", count=60)
    write_pictures(folder / "val", count=2)
    images = open_images(str(folder))
    [images.read(index) for index in range(len(images))]
    test = open_test_images(str(folder), None, images.class_names)
    alone = open_test_images(open_images(Own()), str(write_pictures(tmp_path / "more", count=3)), images.class_names)
    assert test is not None
    assert alone is not None
    for one in (images, test, alone, open_images("digits"), open_images(Own())):
        content = pickle.dumps(one)
        assert len(content) < 4000
        there = pickle.loads(content)
        assert (there.source, there.class_names, there.identity) == (one.source, one.class_names, one.identity)
        assert (there.labels == one.labels).all()
        assert there.read(1).tobytes() == one.read(1).tobytes()
        if one.reopen:
            assert pickle.loads(content) is there
    content = pickle.dumps(images)
    (folder / "train" / "ant" / "0.png").unlink()
    # As if in a process that has not opened it yet.
    _opened_again.cache_clear()
    with pytest.raises(DataError, match="the images have changed since"):
        pickle.loads(content)


def test_an_object_of_what_no_module_holds_travels() -> None:
    brighter = open_images(Own(transform=lambda image: image.point(lambda value: min(value + 9, 255))))
    assert pickle.loads(pickle.dumps(brighter)).read(3).tobytes() == brighter.read(3).tobytes()


def test_an_object_that_cannot_travel_is_named_in_one_line() -> None:
    lock = threading.Lock()
    with pytest.raises(DataError, match="Own: got an object that cannot be sent to other processes") as caught:
        pickle.dumps(open_images(Own(transform=lambda image: image if lock else None)))
    assert "\n" not in str(caught.value)
