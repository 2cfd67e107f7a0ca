"""Semantic segmentation: the class of every pixel.

The target of an image is its mask: a class for every pixel, or none. Networks give logits on a coarser map, which are resized bilinearly
to the mask. The loss is the cross entropy of the pixels that have a class, summed, and divided by the number of all pixels, as the
official code of TopFormer, UniFormer and DaViT does: pixels weigh alike, in whichever image they are. The headline figure is the mean
over classes of intersection over union, both summed over the images.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data.image_set import SEGMENTATION, ImageSet
from supernet.data.images import open_images
from supernet.data.loading import CPU
from supernet.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from supernet.data.segmentation.augmentation import SceneAugmentation
from supernet.data.segmentation.batches import SceneBatches, scene_batches
from supernet.data.sources.kinds import SCENES
from supernet.data.target_options import VOID
from supernet.score import Figure
from supernet.tasks.task import Indices, Task, register_task

GREY = (128, 128, 128)
MAX_LOGITS = 2**20
"""Logits at the size of the masks that are made at a time: few stay in a CPU's cache."""


class Segmentation(Task):
    """One class a pixel. Counts are (N, 3, classes): pixels that are rightly of a class, that are said to be, and that are."""

    name = SEGMENTATION
    metrics = ("mIoU", "pixel accuracy")
    published = "mIoU on ADE20K at 512 px"
    unit = "pixel"
    augmentation = SceneAugmentation()
    recipe = "seg-short"
    per_image = False
    max_search_images, max_calibration_images = 250, 64
    evaluation_batch, calibration_batch = 16, 16

    def loss(self, logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """The cross entropy of the pixels with a class over the number of all pixels; targets are (B, H, W) uint8."""
        of_pixels = F.interpolate(logits, targets.shape[1:], mode="bilinear")
        total = F.cross_entropy(of_pixels, targets.long(), ignore_index=VOID, label_smoothing=label_smoothing, reduction="sum")
        return total / targets.numel()

    def judge(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mean log-likelihoods of an image's pixels with a class, 0 where it has none, and counts."""
        at_a_time = max(1, MAX_LOGITS // (logits.shape[1] * targets[0].numel()))
        parts = zip(logits.split(at_a_time), targets.split(at_a_time), strict=True)
        log_likelihoods, counts = zip(*(_judged(*part) for part in parts), strict=True)
        return torch.cat(log_likelihoods), torch.cat(counts)

    def figures(self, counts: Tensor) -> tuple[Figure, ...]:
        """Mean IoU over the classes that occur or are said to, and the share of right pixels, with jackknife standard errors."""
        total = counts.sum(0)
        # Without each image in turn: (N, 3, classes).
        others = total - counts
        return (
            Figure(self.metrics[0], _mean_iou(total).item(), _jackknife(_mean_iou(others))),
            Figure(self.metrics[1], _pixel_accuracy(total).item(), _jackknife(_pixel_accuracy(others))),
        )

    def example(self) -> ImageSet:
        return open_images(SCENES)

    def by_class(self, counts: Tensor) -> Sequence[float]:
        """Intersection over union."""
        return ious(counts.sum(0)).tolist()

    def pictures(self, images_BCHW: Tensor, targets: Tensor, logits: Tensor) -> Sequence[np.ndarray]:
        """An image, its mask and the likeliest class of every pixel side by side; grey has no class."""
        palette = np.array([*_rgb(logits.shape[1]), *([GREY] * (256 - logits.shape[1]))], dtype=np.uint8)
        of_pixels = F.interpolate(logits, targets.shape[1:], mode="bilinear").max(1).indices
        levels = F.interpolate(_levels(images_BCHW), targets.shape[1:], mode="bilinear").round().byte()
        columns = levels.permute(0, 2, 3, 1).cpu().numpy(), palette[targets.cpu().numpy()], palette[of_pixels.cpu().numpy()]
        return [np.hstack(row) for row in zip(*columns, strict=True)]

    def colours(self, num_classes: int) -> Sequence[str]:
        return ["#{:02x}{:02x}{:02x}".format(*colour) for colour in _rgb(num_classes)]

    def training_batches(
        self, images: ImageSet, indices: np.ndarray, batch_size: int, image_size: int, seed: int,
        augmentation: SceneAugmentation | None = None, num_workers: int | None = None,
    ) -> SceneBatches:  # fmt: skip
        return SceneBatches(images, indices, batch_size, image_size, seed, augmentation or self.augmentation, num_workers)

    def evaluation_batches(
        self, images: ImageSet, indices: Indices, image_size: int, batch_size: int | None = None, device: torch.device = CPU
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Whole images, their shorter side of `image_size` pixels, padded to multiples of 32; masks at their own size."""
        return scene_batches(images, indices, image_size, batch_size or self.evaluation_batch, device)

    def fixed_batch(self, images: ImageSet, indices: Indices, image_size: int) -> tuple[Tensor, Tensor]:
        """A square of every image whose side is the image's shorter one; in an order of its own."""
        whole = SceneAugmentation(scales=(1.0, 1.0), mirror=False, color_jitter=0.0)
        batches = SceneBatches(images, np.asarray(indices), len(indices), image_size, 0, whole, num_workers=0)
        return next(batches.stream(0, 1))

    def preprocessing(self, image_size: int) -> Preprocessing:
        return Preprocessing(image_size, 1.0, "bilinear")


MASKS = register_task(Segmentation())


def ious(counts: Tensor) -> Tensor:
    """Intersection over union (..., classes) of summed counts (..., 3, classes); not a number for classes without a union."""
    right, said, true = counts.unbind(-2)
    return right / (said + true - right)


def _rgb(num_classes: int) -> list[tuple[int, int, int]]:
    """Distinct colours: hues by the golden ratio, by turns light and dark."""
    hsv = [(number * 0.618034 % 1, (0.55, 0.8)[number % 2], (0.95, 0.65, 0.8)[number % 3]) for number in range(num_classes)]
    return [tuple(round(255 * level) for level in colorsys.hsv_to_rgb(*one)) for one in hsv]  # type: ignore[misc]


def _levels(images_BCHW: Tensor) -> Tensor:
    """Normalised images as levels from 0 to 255."""
    mean, std = (torch.tensor(values, device=images_BCHW.device).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((images_BCHW.float() * std + mean) * 255).clamp(0, 255)


def _mean_iou(counts: Tensor) -> Tensor:
    return ious(counts).nanmean(-1)


def _pixel_accuracy(counts: Tensor) -> Tensor:
    right, _, true = counts.sum(-1).unbind(-1)
    return right / true


def _jackknife(leaving_one_out: Tensor) -> float:
    """The standard error of a figure from its values without each image (N,); 0 of one image."""
    values = leaving_one_out[leaving_one_out.isfinite()]
    if len(values) < 2:
        return 0.0
    return ((len(values) - 1) * values.var(correction=0)).sqrt().item()


def _judged(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    images, classes = logits.shape[:2]
    of_pixels = F.interpolate(logits, targets.shape[1:], mode="bilinear")
    true = targets.long()
    has_class = true != VOID
    losses = F.cross_entropy(of_pixels, true, ignore_index=VOID, reduction="none").double()
    log_likelihoods = -losses.sum((1, 2)) / has_class.sum((1, 2)).clamp_min(1)
    # argmax takes eight times as long on a CPU.
    said = of_pixels.max(1).indices
    right = has_class & (said == true)
    rows = torch.arange(images, device=true.device)[:, None, None] * (classes + 1)
    counts = []
    for is_counted, which in ((right, true), (has_class, said), (has_class, true)):
        # Pixels that do not count go to a class of their own.
        places = (rows + torch.where(is_counted, which, classes)).flatten()
        found = torch.zeros(images * (classes + 1), dtype=torch.float64, device=true.device)
        counts.append(found.scatter_add_(0, places, torch.ones_like(places, dtype=torch.float64)).view(images, -1)[:, :classes])
    return log_likelihoods, torch.stack(counts, 1)
