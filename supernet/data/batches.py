"""Batches of tensors: decoding, augmentation, normalisation, and the stream of training batches.

Pixels are scaled to 0 to 1, then normalised by ImageNet's mean (0.485, 0.456, 0.406) and standard deviation (0.229, 0.224, 0.225).
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from supernet.data.images import ImageSet
from supernet.data.unreadable import DataError, UnreadableImage
from supernet.seeding import preserved_rng_state, reseed, seed_of

if TYPE_CHECKING:
    from timm.data.random_erasing import RandomErasing

SMALL_SIZE = 64
"""Images up to this side, in pixels, are evaluated without a centre crop and loaded without worker processes."""
_MEAN = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)
_STD = torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images. The defaults are mild, which suits small images.

    Args:
        min_area: the smallest share of an image's area that a random crop keeps; 1 where `ImageSet.crop` forbids crops.
        mirror: whether to mirror half of the images; never where `ImageSet.mirror` forbids it.
        color_jitter: greatest relative change of brightness, contrast and saturation.
        auto_augment: a policy of timm's, such as `rand-m9-mstd0.5-mmax9-inc1`; None for no policy.
        erase: probability of random erasing (Zhong et al., 2017).
    """

    min_area: float = 0.6
    mirror: bool = True
    color_jitter: float = 0.0
    auto_augment: str | None = None
    erase: float = 0.0


@dataclass(frozen=True, eq=False)
class Batches:
    """Training batches of equal size. A step's batch depends on nothing but the seed and the step.

    Each epoch samples every image once, in another order. A batch may span two epochs.

    Args:
        indices: numbers of the images to train on.
        num_workers: worker processes that load images; by default `default_workers(image_size)`.
    """

    images: ImageSet
    indices: np.ndarray
    batch_size: int
    image_size: int
    seed: int
    augmentation: Augmentation = Augmentation()
    num_workers: int | None = None

    @property
    def num_classes(self) -> int:
        return self.images.num_classes

    @property
    def steps_per_epoch(self) -> int:
        """Steps until every image has been sampled once; the last batch is filled up from the next epoch."""
        return -(-len(self.indices) // self.batch_size)

    def stream(self, start: int, stop: int, rows: Sequence[int] | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (B, 3, S, S) and labels (B,) of the steps from `start` to before `stop`.

        Args:
            rows: which rows of each batch to load, in this order; by default all.
        """
        workers = default_workers(self.image_size) if self.num_workers is None else self.num_workers
        transform = _training_transform(self.images, self.image_size, self.augmentation)
        images = _Loader(self.images, transform, self.seed, _erasing(self.augmentation.erase), self.indices)
        own_rows = range(self.batch_size) if rows is None else rows
        yield from _load(images, ([batch[row] for row in own_rows] for batch in map(self.samples, range(start, stop))), workers)

    def samples(self, step: int) -> list[tuple[int, int]]:
        """The batch of a step: of each image the number of samples since step 0, and its number in the set."""
        total = len(self.indices)
        numbers = range(step * self.batch_size, (step + 1) * self.batch_size)
        return [(number, int(self.indices[_order(self.seed, number // total, total)[number % total]])) for number in numbers]


def rows_of_part(size: int, part: int, parts: int) -> list[int]:
    """Rows of a batch that one process of several trains on; all processes have equally many.

    Mixup pairs the first row with the last one, the second with the last but one and so on. Each pair stays in one process.
    """
    if parts == 1:
        return list(range(size))
    lower = range(part, size // 2, parts)
    return [*lower, *(size - 1 - row for row in reversed(lower))]


def fixed_batch(images: ImageSet, indices: Sequence[int] | np.ndarray, image_size: int) -> tuple[Tensor, Tensor]:
    """Images without augmentation, (B, 3, S, S) float32, and labels (B,); unreadable images are left out."""
    (batch,) = evaluation_batches(images, indices, image_size, len(indices), num_workers=0)
    return batch


def evaluation_batches(
    images: ImageSet, indices: Sequence[int] | np.ndarray, image_size: int, batch_size: int = 256, num_workers: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images (B, 3, S, S) and labels (B,) in order, without augmentation; unreadable images are left out.

    The last batch may be smaller, and so is a batch with unreadable images. DataError where no image can be read.
    """
    rows = [(0, int(index)) for index in indices]
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    workers = default_workers(image_size) if num_workers is None else num_workers
    is_empty = True
    for batch in _load(_evaluation_loader(images, image_size), batches, workers):
        is_empty = False
        yield batch
    if is_empty and rows:
        raise DataError(f"{images.source}: got none of {len(rows)} images to evaluate on that can be read")


def default_workers(image_size: int) -> int:
    """Worker processes that load images: none for small ones, else this process's share of the cores, 8 at most."""
    return 0 if image_size <= SMALL_SIZE else max(1, min(8, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


# timm is imported inside functions: the import takes seconds, and a dry run needs none of it.


def _erasing(probability: float) -> RandomErasing | None:
    from timm.data.random_erasing import RandomErasing

    return RandomErasing(probability, mode="pixel", device="cpu") if probability else None


def _training_transform(images: ImageSet, image_size: int, augmentation: Augmentation) -> Any:
    from timm.data import create_transform

    small = image_size <= SMALL_SIZE
    return create_transform(
        image_size,
        is_training=True,
        scale=(augmentation.min_area if images.crop else 1.0, 1.0),
        hflip=0.5 if augmentation.mirror and images.mirror else 0.0,
        color_jitter=(augmentation.color_jitter,) * 3 if augmentation.color_jitter else None,  # type: ignore[arg-type]
        auto_augment=augmentation.auto_augment,
        interpolation="bilinear" if small else "random",
        normalize=False,
    )


def _evaluation_loader(images: ImageSet, image_size: int) -> _Loader:
    from timm.data import create_transform

    crop = 1.0 if image_size <= SMALL_SIZE else 0.9
    transform = create_transform(image_size, is_training=False, crop_pct=crop, interpolation="bicubic", normalize=False)
    return _Loader(images, transform)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, total: int) -> np.ndarray:
    return np.random.default_rng(seed_of("order", seed, epoch)).permutation(total)


@dataclass(frozen=True)
class _Loaded:
    """A batch, and why files could not be read, by their images' numbers."""

    images_BCHW: Tensor
    labels_B: Tensor
    unreadable: Mapping[int, str]


class _Loader(Dataset):
    """Batches of transformed images; the number of a sample seeds its augmentation.

    Args:
        part: numbers of the images that may replace an unreadable one of their class; None leaves unreadable images out.
    """

    def __init__(
        self, images: ImageSet, transform: Any, seed: int = 0, erase: RandomErasing | None = None, part: np.ndarray | None = None
    ) -> None:
        self.images = images
        self._transform = transform
        self._seed = seed
        self._erase = erase
        self._part = part

    def __getitems__(self, samples: list[tuple[int, int]]) -> _Loaded | DataError:
        try:
            with preserved_rng_state():
                return self._load(samples)
        except DataError as error:
            # Returned, not raised: DataLoader puts the traceback of a worker's exception into its message.
            return error

    def _load(self, samples: list[tuple[int, int]]) -> _Loaded:
        unreadable: dict[int, str] = {}
        pixels, labels = [], []
        for number, index in samples:
            image = self._read(index, unreadable)
            if image is not None:
                pixels.append(self._pixels(number, index, image))
                labels.append(self.images.labels[index])
        labels_B = torch.tensor(np.array(labels, dtype=np.int64))
        if not pixels:
            return _Loaded(torch.empty(0), labels_B, unreadable)
        # The whole batch at once is three times as fast as image by image.
        images_BCHW = torch.stack(pixels).float().div_(255).sub_(_MEAN).div_(_STD)
        if self._erase is not None:
            for (number, _), image_CHW in zip(samples, images_BCHW, strict=True):
                reseed("erase", self._seed, number)
                self._erase(image_CHW)
        return _Loaded(images_BCHW, labels_B, unreadable)

    def _read(self, index: int, unreadable: dict[int, str]) -> Image.Image | None:
        for candidate in itertools.chain([index], self._replacements(index)):
            try:
                return self.images.read(candidate)
            except UnreadableImage as error:
                unreadable[candidate] = error.brief
        if self._part is None:
            return None
        name = self.images.class_names[self.images.labels[index]]
        raise DataError(f"{self.images.source}: got no image of the class {name!r:.60} to train on that can be read")

    def _replacements(self, index: int) -> Iterator[int]:
        """The other images of the same class in the part, the next ones first."""
        if self._part is not None:
            members = np.sort(self._part[self.images.labels[self._part] == self.images.labels[index]])
            yield from map(int, np.roll(members, -int(np.searchsorted(members, index)))[1:])

    def _pixels(self, number: int, index: int, image: Image.Image) -> Tensor:
        reseed("augment", self._seed, number)
        try:
            return self._transform(image)
        except ValueError as error:
            # Some of timm's policies call Pillow with arguments that it refuses, such as posterizing to 0 bits.
            raise DataError(f"{self.images.source}: image {index}: the augmentation failed ({error}); choose another one") from None


def _load(images: _Loader, batches: Iterable[list[tuple[int, int]]], num_workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    loader = DataLoader(
        images,
        batch_sampler=batches,
        collate_fn=_unchanged,
        num_workers=num_workers,
        worker_init_fn=_ignore_interrupts,
        # Without a generator of its own, a DataLoader advances the caller's.
        generator=torch.Generator(),
    )
    unreadable = images.images.unreadable
    for batch in loader:
        if isinstance(batch, DataError):
            raise batch
        unreadable.add(batch.unreadable)
        if len(batch.labels_B):
            yield batch.images_BCHW, batch.labels_B
    unreadable.report()


def _unchanged(batch: Any) -> Any:
    return batch


def _ignore_interrupts(_: int) -> None:
    """Leave Ctrl-C to the parent process, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
