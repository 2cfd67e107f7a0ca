"""Images that stay on the device, and their augmentation in batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as tv

from supernet.data import augmentation, kept_images
from supernet.data.augmentation import Augmentation, erase, recoloured, resized_crops
from supernet.data.batches import Batches, evaluation_batches
from supernet.data.images import ImageSet, open_images
from supernet.data.loading import ImageLoader

SIDE = 24


class Pictures:
    """A caller's dataset of noise, whose images may differ in size."""

    classes = ("ant", "bee")

    def __init__(self, sizes: list[tuple[int, int]]) -> None:
        self.decoded = 0
        rng = np.random.default_rng(0)
        self.pictures = [Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]
        self.targets = [index % 2 for index in range(len(sizes))]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        self.decoded += 1
        return self.pictures[index], self.targets[index]


def pictures(count: int = 20) -> ImageSet:
    return open_images(Pictures([(20 + index % 5, 30 - index % 7) for index in range(count)]))


def drawn(batches: Batches, start: int, stop: int, rows: list[int] | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*batches.stream(start, stop, rows), strict=True)
    return torch.stack(images), torch.stack(labels)


@pytest.mark.parametrize("size", [16, 32, 48])
def test_crops_are_resized_as_pillow_resizes_them(size: int) -> None:
    pixels = torch.randint(0, 256, (6, 3, 30, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    sizes = np.array([[30, 40], [30, 40], [20, 40], [30, 20], [11, 9], [30, 40]])
    how = Augmentation(0.2)
    changes = how.changes(how.uniforms(0, 0, 6), sizes)
    ours = resized_crops(pixels, torch.from_numpy(changes), size)
    for row in range(6):
        top, left, height, width = changes[row, :4].astype(int).tolist()
        image = Image.fromarray(pixels[row].permute(1, 2, 0).numpy()).crop((left, top, left + width, top + height))
        expected = torch.from_numpy(np.array(image.resize((size, size), Image.Resampling.BILINEAR))).permute(2, 0, 1)
        expected = expected.flip(-1) if changes[row, 4] else expected
        # Pillow rounds to whole levels after each direction.
        assert (ours[row] - expected).abs().max() < 1.1
    assert set(changes[:, 4]) == {0, 1}


@given(st.integers(1, 300), st.integers(1, 300), st.floats(0.05, 1), st.integers(0, 99))
def test_crops_lie_inside_their_images(height: int, width: int, min_area: float, seed: int) -> None:
    how = Augmentation(min_area)
    boxes = how.changes(how.uniforms(seed, 0, 8), np.tile([height, width], (8, 1)))[:, :4]
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] >= 1).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= [height, width]).all()


def test_crops_keep_the_share_asked_for() -> None:
    how = Augmentation(0.3)
    changes = how.changes(how.uniforms(0, 0, 500), np.full((500, 2), 100))
    shares = changes[:, 2] * changes[:, 3] / 1e4
    assert shares.min() > 0.29
    image = torch.empty(3, 100, 100)
    torch.manual_seed(0)
    boxes = [RandomResizedCrop.get_params(image, [0.3, 1], [3 / 4, 4 / 3]) for _ in range(500)]
    theirs = [height * width / 1e4 for _, _, height, width in boxes]
    assert abs(shares.mean() - np.mean(theirs)) < 0.03
    assert abs(shares.std() - np.std(theirs)) < 0.03
    assert 0.4 < changes[:, 4].mean() < 0.6
    assert not Augmentation(mirror=False).changes(how.uniforms(0, 0, 500), np.full((500, 2), 100))[:, 4].any()


def test_colours_change_as_in_torchvision() -> None:
    levels = 255 * torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    changes = torch.tensor([[0, 0, 8, 8, 0, 1.3, 0.7, 1.4], [0, 0, 8, 8, 0, 0.6, 1.2, 0.5]])
    for one, (*_, brightness, contrast, saturation), ours in zip(levels, changes.tolist(), recoloured(levels, changes), strict=True):
        expected = tv.adjust_saturation(tv.adjust_contrast(tv.adjust_brightness(one / 255, brightness), contrast), saturation)
        torch.testing.assert_close(ours / 255, expected, atol=2e-3, rtol=0)


def test_erasing_fills_boxes_with_noise() -> None:
    how = Augmentation(erase=0.5)
    boxes = how.erased(how.uniforms(0, 0, 400), 32)
    areas = boxes[:, 2] * boxes[:, 3] / 32**2
    assert 0.4 < (areas > 0).mean() < 0.6
    assert 0.01 < areas[areas > 0].min() < areas.max() < 0.35
    erased = erase(torch.zeros(400, 3, 32, 32), torch.from_numpy(boxes), torch.ones(400, 3, 32, 32))
    assert np.allclose(erased.mean((1, 2, 3)).numpy(), areas)


def test_images_are_decoded_once() -> None:
    images = pictures()
    images.kept.clear()
    dataset = images.reader.dataset  # type: ignore[attr-defined]
    before = dataset.decoded
    batches = Batches(images, np.arange(1, 19), 4, SIDE, 0)
    drawn(batches, 0, 15)
    assert dataset.decoded - before <= 18 + 20
    before = dataset.decoded
    drawn(batches, 3, 9)
    drawn(Batches(images, np.arange(1, 19), 6, SIDE, 5), 0, 9)
    assert dataset.decoded == before


STRONG = Augmentation(0.3, color_jitter=0.4, erase=0.5)


@pytest.mark.parametrize("how", [Augmentation(), STRONG, Augmentation(auto_augment="rand-m3", erase=1)])
def test_rows_are_those_of_the_whole_batch(how: Augmentation) -> None:
    batches = Batches(pictures(), np.arange(20), 6, SIDE, 3, how)
    images, labels = drawn(batches, 2, 6)
    rows = [4, 1, 5]
    own_images, own_labels = drawn(Batches(pictures(), np.arange(20), 6, SIDE, 3, how), 2, 6, rows)
    assert torch.equal(own_labels, labels[:, rows])
    torch.testing.assert_close(own_images, images[:, rows])
    assert not torch.equal(images[0], images[1])


@pytest.mark.parametrize("how", [Augmentation(), Augmentation(color_jitter=0.4)])
def test_nothing_is_read_back_from_the_device(how: Augmentation) -> None:
    # A meta device has no values: whatever reads one raises.
    device = torch.device("meta")
    for images, labels in Batches(pictures(), np.arange(20), 6, SIDE, 3, how).stream(0, 5, device=device):
        assert images.device == labels.device == device
        assert images.shape == (6, 3, SIDE, SIDE)
    assert all(images.device == device for images, _ in evaluation_batches(pictures(), range(8), SIDE, device=device))


def test_images_larger_than_those_sampled_are_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    images = open_images(Pictures([(20, 20)] * 40 + [(200, 100)] + [(20, 20)]))
    monkeypatch.setattr(ImageSet, "sampled_sizes", lambda self: [(20, 20)])
    pixels, _ = drawn(Batches(images, np.array([40]), 1, SIDE, 0), 0, 1)
    assert pixels.shape == (1, 1, 3, SIDE, SIDE)
    (kept,) = images.kept.values()
    assert kept.sizes([(0, 40)]).tolist() == [[20, 10]]


def test_sets_that_take_much_memory_are_read_from_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures()
    monkeypatch.setattr(kept_images, "CACHE_BYTES", 100)
    pixels, _ = drawn(Batches(images, np.arange(20), 6, SIDE, 0), 0, 2)
    assert not images.kept
    assert pixels.shape == (2, 6, 3, SIDE, SIDE)
    large = open_images(Pictures([(70, 80)] * 20))
    drawn(Batches(large, np.arange(20), 6, SIDE, 0), 0, 1)
    assert not large.kept


def test_jpeg_photos_are_decoded_at_a_reduced_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for number in range(5):
            coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
            coarse.resize((1600, 1200)).save(tmp_path / name / f"{number}.jpg")
    images = open_images(str(tmp_path))
    assert images.decode(0).size == (1600, 1200)
    assert images.decode(0, 300).size == (400, 300)
    assert images.decode(0, 301).size == (800, 600)
    assert images.decode(0, 1201).size == (1600, 1200)
    (ours, _), = evaluation_batches(images, [0, 7], 96)
    loader = ImageLoader(images, augmentation_free(96))
    (whole,) = loader.batches([[(0, 0), (0, 7)]], 0)
    assert (ours - augmentation.normalised(whole.pixels_BCHW)).abs().mean() < 0.02


def augmentation_free(size: int) -> object:
    from timm.data import create_transform

    return create_transform(size, is_training=False, crop_pct=0.9, interpolation="bicubic", normalize=False)
