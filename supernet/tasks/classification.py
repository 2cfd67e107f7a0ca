"""Classification: the class of an image.

The target of an image is the number of its class. The loss is the cross entropy, the headline figure the accuracy: the share of images
whose likeliest class is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data.augmentation import MILD, Augmentation
from supernet.data.batches import Batches, evaluation_batches, fixed_batch
from supernet.data.image_set import CLASSIFICATION, ImageSet
from supernet.data.images import open_images
from supernet.data.loading import CPU
from supernet.data.preprocessing import Preprocessing, preprocessing_at
from supernet.score import ACCURACY, Figure
from supernet.tasks.task import Indices, Task, register_task


class Classification(Task):
    """One class an image. Counts are (N,): 1 for a hit, otherwise 0."""

    name = CLASSIFICATION
    metrics = (ACCURACY,)
    published = "top-1 accuracy on ImageNet at 224 px"
    unit = "image"
    augmentation = MILD
    recipe = "short"
    per_image = True
    max_search_images, max_calibration_images = 1000, 256
    evaluation_batch, calibration_batch = 256, 64

    def loss(self, logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """The cross entropy; targets are classes (B,), or probabilities (B, classes) of images that were mixed."""
        return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)

    def judge(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return -F.cross_entropy(logits, targets, reduction="none").double(), logits.argmax(1).eq(targets).double()

    def figures(self, counts: Tensor) -> tuple[Figure, ...]:
        return (Figure(self.metric, counts.mean().item(), counts.std(correction=0).item() / math.sqrt(len(counts))),)

    def example(self) -> ImageSet:
        return open_images("digits")

    def training_batches(
        self, images: ImageSet, indices: np.ndarray, batch_size: int, image_size: int, seed: int,
        augmentation: Augmentation | None = None, num_workers: int | None = None,
    ) -> Batches:  # fmt: skip
        return Batches(images, indices, batch_size, image_size, seed, augmentation or self.augmentation, num_workers)

    def evaluation_batches(
        self, images: ImageSet, indices: Indices, image_size: int, batch_size: int | None = None, device: torch.device = CPU
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The square centre of every image, of a side in pixels."""
        return evaluation_batches(images, indices, image_size, batch_size or self.evaluation_batch, device=device)

    def fixed_batch(self, images: ImageSet, indices: Indices, image_size: int) -> tuple[Tensor, Tensor]:
        return fixed_batch(images, indices, image_size)

    def preprocessing(self, image_size: int) -> Preprocessing:
        return preprocessing_at(image_size)


CLASSES = register_task(Classification())
