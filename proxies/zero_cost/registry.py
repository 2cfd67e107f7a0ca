"""The registry of scores: how one is declared, found and called."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from space.errors import UserError

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits (B, classes, ...) and targets (B, ...) to a scalar."""


class ScoreError(UserError):
    """A network or a batch that a score cannot serve."""


@dataclass(frozen=True, eq=False)
class Batch:
    """The images that a network is scored on.

    Args:
        images: (B, C, H, W), floating point.
        labels: (B,), int64, or other targets (B, ...) of the loss.
    """

    images: Tensor
    labels: Tensor
    loss: Loss = F.cross_entropy

    def parts(self, count: int) -> Iterator[Batch]:
        """The batch in `count` parts of about equal size."""
        for images, labels in zip(self.images.tensor_split(count), self.labels.tensor_split(count), strict=True):
            yield Batch(images, labels, self.loss)


@dataclass(frozen=True)
class ZeroCostScore:
    """A registered score: `score(network, images_BCHW, labels_B)` is a finite number, and greater is better.

    Weights, buffers, gradients, training mode and the random state are afterwards as before, and the same network and batch
    give the same number.

    Args:
        min_batch: the least number of images.
    """

    name: str
    paper: str
    min_batch: int
    function: Callable[[nn.Module, Batch], float]

    def __call__(self, network: nn.Module, images_BCHW: Tensor, labels_B: Tensor, loss: Loss = F.cross_entropy) -> float:
        """ZeroCostScore a network; ScoreError where it or the batch does not allow it."""
        if images_BCHW.ndim != 4 or not images_BCHW.is_floating_point() or labels_B.shape[:1] != images_BCHW.shape[:1]:
            got = f"got {images_BCHW.dtype} images {tuple(images_BCHW.shape)} and labels {tuple(labels_B.shape)}"
            raise ScoreError(f"{self.name}: {got}, expected floats (B, C, H, W) and (B, ...)")
        if len(images_BCHW) < self.min_batch:
            raise ScoreError(f"{self.name}: got a batch of {len(images_BCHW)}, expected {self.min_batch} images or more")
        with torch.inference_mode(False), torch.enable_grad():
            value = float(self.function(network, Batch(images_BCHW, labels_B, loss)))
        if not math.isfinite(value):
            raise ScoreError(f"{self.name}: got {value}, expected a finite number; try other images, or another initialisation")
        return value


SCORES: dict[str, ZeroCostScore] = {}
"""All scores by name. To import this module imports the whole package, which registers them."""


def register(name: str, *, paper: str = "", min_batch: int = 1) -> Callable[[Callable[[nn.Module, Batch], float]], ZeroCostScore]:
    """Turn a function of a network and a batch into a registered score.

    Args:
        paper: where the score comes from.
        min_batch: the least number of images.
    """

    def decorate(function: Callable[[nn.Module, Batch], float]) -> ZeroCostScore:
        if name in SCORES:
            raise ScoreError(f"score: {name!r} is registered already")
        SCORES[name] = ZeroCostScore(name, paper, min_batch, function)
        return SCORES[name]

    return decorate


def score_named(name: str) -> ZeroCostScore:
    """The score of this name; ScoreError lists the names there are."""
    if name not in SCORES:
        raise ScoreError(f"score: got {name!r}, expected one of {', '.join(SCORES)}")
    return SCORES[name]
