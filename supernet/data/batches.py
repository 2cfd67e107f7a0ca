"""From images to batches of tensors: augmentation, normalisation, and the stream that training reads.

Pixels are normalised by ImageNet's mean and standard deviation, whatever the data: 0.485, 0.456, 0.406 and 0.229,
0.224, 0.225 of a full scale of 1.
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
"""Up to this side, in pixels, images are evaluated whole, and loading them needs no process of its own."""
_MEAN = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)
_STD = torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training image at random. The defaults are mild, as small images need it.

    Args:
        min_area: least part of an image's area that a crop keeps, where the data allows it.
        mirror: whether to mirror half of the images, where the data allows it.
        color_jitter: greatest relative change of brightness, contrast and saturation.
        auto_augment: a policy of timm's, such as `rand-m9-mstd0.5-mmax9-inc1`, or none.
        erase: probability of erasing a rectangle.
    """

    min_area: float = 0.6
    mirror: bool = True
    color_jitter: float = 0.0
    auto_augment: str | None = None
    erase: float = 0.0


@dataclass(frozen=True, eq=False)
class Batches:
    """Training batches: the one of a step depends on the seed and the step alone.

    Images are drawn epoch by epoch without replacement; a batch may reach over the end of an epoch, so that all have
    the same size.

    Args:
        indices: the images of the set to train on.
        num_workers: processes that load; by default as `default_workers` says.
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
        """Steps that draw every image once, the last batch filled up from the next epoch."""
        return -(-len(self.indices) // self.batch_size)

    def stream(self, start: int, stop: int, places: Sequence[int] | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (B, 3, S, S) and labels (B,) of the steps from `start` to before `stop`.

        Args:
            places: in each batch, of the images to load, in this order; by default all.
        """
        workers = default_workers(self.image_size) if self.num_workers is None else self.num_workers
        transform = _training_transform(self.images, self.image_size, self.augmentation)
        samples = _Samples(self.images, transform, self.seed, _erasing(self.augmentation.erase), self.indices)
        wanted = range(self.batch_size) if places is None else places
        draws = ([drawn[place] for place in wanted] for drawn in map(self.draws, range(start, stop)))
        yield from _load(samples, draws, workers)

    def draws(self, step: int) -> list[tuple[int, int]]:
        """The images of a step: how many were drawn before each since step 0, and its number in the set."""
        total = len(self.indices)
        drawn = range(step * self.batch_size, (step + 1) * self.batch_size)
        return [(draw, int(self.indices[_order(self.seed, draw // total, total)[draw % total]])) for draw in drawn]


def places_of_part(size: int, part: int, parts: int) -> list[int]:
    """Places of a part's images in a batch, one of several parts of equal size.

    Mixup mixes the first image with the last one, the second with the last but one and so on; in a part they are the same pairs.
    """
    if parts == 1:
        return list(range(size))
    lower = range(part, size // 2, parts)
    return [*lower, *(size - 1 - place for place in reversed(lower))]


def fixed_batch(images: ImageSet, indices: Sequence[int] | np.ndarray, image_size: int) -> tuple[Tensor, Tensor]:
    """Decode images once, without augmentation: (B, 3, S, S) float32 and labels (B,), unreadable ones left out."""
    (batch,) = evaluation_batches(images, indices, image_size, len(indices), num_workers=0)
    return batch


def evaluation_batches(
    images: ImageSet, indices: Sequence[int] | np.ndarray, image_size: int, batch_size: int = 256, num_workers: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all images in order, without augmentation, but for those that cannot be read.

    The last batch is as small as it has to be, and others are by what was left out of them. DataError where nothing remains.
    """
    rows = [(0, int(index)) for index in indices]
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    workers = default_workers(image_size) if num_workers is None else num_workers
    is_empty = True
    for batch in _load(_evaluation_samples(images, image_size), batches, workers):
        is_empty = False
        yield batch
    if is_empty and rows:
        raise DataError(f"{images.source}: got none of {len(rows)} images to evaluate on that can be read")


def default_workers(image_size: int) -> int:
    """Processes that load images: none for small ones, else one for every core that is this process's share."""
    return 0 if image_size <= SMALL_SIZE else max(1, min(8, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


# timm is imported where it is needed: it takes seconds, and asking what a search would do needs none of it.


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


def _evaluation_samples(images: ImageSet, image_size: int) -> _Samples:
    from timm.data import create_transform

    crop = 1.0 if image_size <= SMALL_SIZE else 0.9
    transform = create_transform(image_size, is_training=False, crop_pct=crop, interpolation="bicubic", normalize=False)
    return _Samples(images, transform)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, total: int) -> np.ndarray:
    return np.random.default_rng(seed_of("order", seed, epoch)).permutation(total)


@dataclass(frozen=True)
class _Loaded:
    """A batch, and by number which files could not be read, and why."""

    images_BCHW: Tensor
    labels_B: Tensor
    unreadable: Mapping[int, str]


class _Samples(Dataset):
    """Batches of transformed images, each image's random numbers seeded by its draw.

    Args:
        part: images one of which, of the same class, takes the place of one that cannot be read; without them it is left out.
    """

    def __init__(
        self, images: ImageSet, transform: Any, seed: int = 0, erase: RandomErasing | None = None, part: np.ndarray | None = None
    ) -> None:
        self.images = images
        self._transform = transform
        self._seed = seed
        self._erase = erase
        self._part = part

    def __getitems__(self, draws: list[tuple[int, int]]) -> _Loaded | DataError:
        try:
            with preserved_rng_state():
                return self._load(draws)
        except DataError as error:
            # As a value: a worker's exception would arrive with its traceback as its message.
            return error

    def _load(self, draws: list[tuple[int, int]]) -> _Loaded:
        unreadable: dict[int, str] = {}
        pixels, labels = [], []
        for draw, index in draws:
            image = self._read(index, unreadable)
            if image is not None:
                pixels.append(self._pixels(draw, index, image))
                labels.append(self.images.labels[index])
        labels_B = torch.tensor(np.array(labels, dtype=np.int64))
        if not pixels:
            return _Loaded(torch.empty(0), labels_B, unreadable)
        # A batch at once: three times as fast as image by image.
        images_BCHW = torch.stack(pixels).float().div_(255).sub_(_MEAN).div_(_STD)
        if self._erase is not None:
            for (draw, _), image_CHW in zip(draws, images_BCHW, strict=True):
                reseed("erase", self._seed, draw)
                self._erase(image_CHW)
        return _Loaded(images_BCHW, labels_B, unreadable)

    def _read(self, index: int, unreadable: dict[int, str]) -> Image.Image | None:
        for candidate in itertools.chain([index], self._stand_ins(index)):
            try:
                return self.images.read(candidate)
            except UnreadableImage as error:
                unreadable[candidate] = error.brief
        if self._part is None:
            return None
        name = self.images.class_names[self.images.labels[index]]
        raise DataError(f"{self.images.source}: got no image of the class {name!r:.60} to train on that can be read")

    def _stand_ins(self, index: int) -> Iterator[int]:
        """The other images of this one's class and part, the next ones first."""
        if self._part is not None:
            members = np.sort(self._part[self.images.labels[self._part] == self.images.labels[index]])
            place = int(np.searchsorted(members, index))
            yield from map(int, np.roll(members, -place)[1:])

    def _pixels(self, draw: int, index: int, image: Image.Image) -> Tensor:
        reseed("augment", self._seed, draw)
        try:
            return self._transform(image)
        except ValueError as error:
            # Some of timm's policies ask for what Pillow refuses, such as posterizing to no bits.
            raise DataError(f"{self.images.source}: image {index}: the augmentation failed ({error}); choose another one") from None


def _load(samples: _Samples, batches: Iterable[list[tuple[int, int]]], num_workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    loader = DataLoader(
        samples,
        batch_sampler=batches,
        collate_fn=_unchanged,
        num_workers=num_workers,
        worker_init_fn=_leave_interruptions_to_the_parent,
        # Without a generator of its own, a loader draws from the caller's.
        generator=torch.Generator(),
    )
    unreadable = samples.images.unreadable
    for batch in loader:
        if isinstance(batch, DataError):
            raise batch
        unreadable.add(batch.unreadable)
        if len(batch.labels_B):
            yield batch.images_BCHW, batch.labels_B
    unreadable.report()


def _unchanged(batch: Any) -> Any:
    return batch


def _leave_interruptions_to_the_parent(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
