"""Scores on held-out images, of an architecture with the supernet's weights or of a network of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from space.architecture import Architecture
from supernet.calibration import calibrate
from supernet.network import Supernet


@dataclass(frozen=True)
class Score:
    """Accuracy (a share of 1) and mean log-likelihood (nats) on held-out images, with their standard errors.

    Args:
        log_likelihood: what architectures are ranked by; without images, a caller's number, greater for the better.
        num_images: fewer where an evaluation was stopped; 0 where a caller's evaluator returned only a number.
    """

    accuracy: float
    accuracy_stderr: float
    log_likelihood: float
    log_likelihood_stderr: float
    num_images: int

    @classmethod
    def of_number(cls, value: float) -> Score:
        """The score of a caller's number, greater for the better."""
        return cls(0.0, 0.0, value, 0.0, 0)

    @property
    def in_words(self) -> str:
        """Accuracy in per cent, or the number that stands for the score."""
        return f"{100 * self.accuracy:.1f} %" if self.num_images else f"{self.log_likelihood:.4g}"

    @property
    def accuracy_cell(self) -> str:
        """Accuracy in per cent and its standard error, for a table; empty where there were no images."""
        return f"{100 * self.accuracy:.1f} ± {100 * self.accuracy_stderr:.1f}" if self.num_images else ""


@dataclass(frozen=True, eq=False)
class PerImage:
    """Log-likelihoods (N,) of all images, and hits (N,), 1 or 0; both in double precision."""

    log_likelihoods: Tensor
    hits: Tensor

    def __len__(self) -> int:
        return len(self.hits)

    @property
    def score(self) -> Score:
        """Means and their standard errors."""
        root = math.sqrt(len(self))
        return Score(
            accuracy=self.hits.mean().item(),
            accuracy_stderr=self.hits.std(correction=0).item() / root,
            log_likelihood=self.log_likelihoods.mean().item(),
            log_likelihood_stderr=self.log_likelihoods.std(correction=0).item() / root,
            num_images=len(self),
        )


def evaluate(
    supernet: Supernet,
    architecture: Architecture,
    calibration: Sequence[Tensor],
    batches: Sequence[tuple[Tensor, Tensor]],
    is_over: Callable[[PerImage], bool] | None = None,
) -> PerImage:
    """Calibrate the batch norms on training images, then score labelled batches (images_BCHW, labels_B).

    Args:
        is_over: called after each batch but the last with the images scored so far; True stops the evaluation.
    """
    statistics = calibrate(supernet, architecture, calibration)
    return judge(lambda images_BCHW: supernet(images_BCHW, architecture, statistics), batches, is_over)


@torch.no_grad()
def judge(
    forward: Callable[[Tensor], Tensor], batches: Sequence[tuple[Tensor, Tensor]], is_over: Callable[[PerImage], bool] | None = None
) -> PerImage:
    """Score a function from images (B, C, H, W) to logits (B, classes); `is_over` as in `evaluate`."""
    log_likelihoods: list[Tensor] = []
    hits: list[Tensor] = []
    for images_BCHW, labels_B in batches:
        if is_over is not None and hits and is_over(PerImage(torch.cat(log_likelihoods), torch.cat(hits))):
            break
        logits = forward(images_BCHW).float()
        log_likelihoods.append(-F.cross_entropy(logits, labels_B, reduction="none").double())
        hits.append(logits.argmax(1).eq(labels_B).double())
    return PerImage(torch.cat(log_likelihoods), torch.cat(hits))
