"""Loading of images in the training process or in worker processes: decoding, and what is done to one image at a time."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from supernet.data.images import ImageSet
from supernet.data.preprocessing import SMALL_SIZE
from supernet.data.unreadable import DataError, UnreadableImage
from supernet.seeding import preserved_rng_state, reseed

CPU = torch.device("cpu")
Sample = tuple[int, int]
"""The number of an image's sample since step 0, and the image's number in the set."""


@dataclass(frozen=True)
class Loaded:
    """Some images of a set.

    Args:
        indices: numbers of the images that were asked for, but for those left out.
        pixels_BCHW: uint8, smaller images at the top left.
        sizes_B2: their heights and widths.
        unreadable: why files could not be read, by their images' numbers.
    """

    indices: Sequence[int]
    pixels_BCHW: Tensor
    sizes_B2: np.ndarray
    labels_B: Tensor
    unreadable: Mapping[int, str]

    def pin_memory(self) -> Loaded:
        """The same in pinned memory; DataLoader calls this."""
        return replace(self, pixels_BCHW=self.pixels_BCHW.pin_memory(), labels_B=self.labels_B.pin_memory())


class ImageLoader(Dataset):
    """Loads lists of samples; the number of a sample seeds the transform.

    Args:
        transform: a decoded image to pixels (C, H, W) uint8.
        least_side: see `ImageSet.decode`; None reads whole images, and keeps small ones decoded.
        part: numbers of the images that may replace an unreadable one of their class; None leaves unreadable images out.
    """

    def __init__(
        self,
        images: ImageSet,
        transform: Callable[[Any], Tensor],
        least_side: int | None = None,
        seed: int = 0,
        part: np.ndarray | None = None,
    ) -> None:
        self._images = images
        self._transform = transform
        self._least_side = least_side
        self._seed = seed
        self._part = part

    def batches(self, samples: Iterable[list[Sample]], num_workers: int, pinned: bool = False) -> Iterator[Loaded]:
        """Load some lists of samples in order; what cannot be read is noted in the set, and too much of it is a DataError.

        Args:
            num_workers: worker processes that load; a daemonic process, which must not start any, loads by itself.
        """
        loader = DataLoader(
            self,
            batch_sampler=samples,
            collate_fn=_unchanged,
            num_workers=0 if multiprocessing.current_process().daemon else num_workers,
            worker_init_fn=_ignore_interrupts,
            pin_memory=pinned,
            # Without a generator of its own, a DataLoader advances the caller's.
            generator=torch.Generator(),
        )
        for batch in loader:
            if isinstance(batch, DataError):
                raise batch
            self._images.unreadable.add(batch.unreadable)
            yield batch
        self._images.unreadable.report()

    def __getitems__(self, samples: list[Sample]) -> Loaded | DataError:
        try:
            with preserved_rng_state():
                return self._load(samples)
        except DataError as error:
            # Returned, not raised: DataLoader puts the traceback of a worker's exception into its message.
            return error

    def _load(self, samples: list[Sample]) -> Loaded:
        unreadable: dict[int, str] = {}
        indices, pixels = [], []
        for number, index in samples:
            image = self._read(index, unreadable)
            if image is not None:
                pixels.append(self._transformed(number, index, image))
                indices.append(index)
        sizes_B2 = np.array([one.shape[1:] for one in pixels], dtype=np.int64).reshape(-1, 2)
        labels_B = torch.from_numpy(self._images.labels[np.array(indices, dtype=np.int64)])
        return Loaded(indices, _padded(pixels, sizes_B2), sizes_B2, labels_B, unreadable)

    def _read(self, index: int, unreadable: dict[int, str]) -> Any:
        images = self._images
        for candidate in itertools.chain([index], self._replacements(index)):
            try:
                return self._decoded(candidate)
            except UnreadableImage as error:
                unreadable[candidate] = error.brief
        if self._part is None:
            return None
        name = images.class_names[images.labels[index]]
        raise DataError(f"{images.source}: got no image of the class {name!r:.60} to train on that can be read")

    def _decoded(self, index: int) -> Any:
        return self._images.read(index) if self._least_side is None else self._images.decode(index, self._least_side)

    def _replacements(self, index: int) -> Iterator[int]:
        """The other images of the same class in the part, the next ones first."""
        if self._part is not None:
            members = np.sort(self._part[self._images.labels[self._part] == self._images.labels[index]])
            yield from map(int, np.roll(members, -int(np.searchsorted(members, index)))[1:])

    def _transformed(self, number: int, index: int, image: Any) -> Tensor:
        reseed("augment", self._seed, number)
        try:
            return self._transform(image)
        except ValueError as error:
            # Some of timm's policies call Pillow with arguments that it refuses, such as posterizing to 0 bits.
            raise DataError(f"{self._images.source}: image {index}: the augmentation failed ({error}); choose another one") from None


def default_workers(image_size: int, device: torch.device = CPU) -> int:
    """Worker processes that load images: this process's share of the cores, 8 at most; none for small images on a CPU."""
    if image_size <= SMALL_SIZE and device.type == "cpu":
        return 0
    return max(1, min(8, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def _padded(pixels: list[Tensor], sizes_B2: np.ndarray) -> Tensor:
    if not pixels:
        return torch.empty((0, 3, 0, 0), dtype=torch.uint8)
    if (sizes_B2 == sizes_B2[0]).all():
        return torch.stack(pixels)
    padded = torch.zeros((len(pixels), len(pixels[0]), *sizes_B2.max(0).tolist()), dtype=torch.uint8)
    for row, one in zip(padded, pixels, strict=True):
        row[:, : one.shape[1], : one.shape[2]] = one
    return padded


def _unchanged(batch: Any) -> Any:
    return batch


def _ignore_interrupts(_: int) -> None:
    """Leave Ctrl-C to the parent process, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
