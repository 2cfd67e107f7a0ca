"""What a network scores on held-out images: an architecture with the supernet's weights, or a network of its own."""

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
        log_likelihood: what architectures are ranked by; any number that is greater for the better where there were no images.
        num_images: fewer than there are where an evaluation was stopped, none where a caller's evaluator gave a number alone.
    """

    accuracy: float
    accuracy_stderr: float
    log_likelihood: float
    log_likelihood_stderr: float
    num_images: int

    @classmethod
    def of_number(cls, value: float) -> Score:
        """What a caller's evaluator gave, greater for the better."""
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
    """What every image was judged, in double precision: log-likelihoods (N,), and hits (N,), 1 or 0."""

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
    """Calibrate the batch norms on training images, then judge labelled batches (images_BCHW, labels_B).

    Args:
        is_over: asked after each batch but the last, with all that was judged so far.
    """
    statistics = calibrate(supernet, architecture, calibration)
    return judge(lambda images_BCHW: supernet(images_BCHW, architecture, statistics), batches, is_over)


@torch.no_grad()
def judge(
    forward: Callable[[Tensor], Tensor], batches: Sequence[tuple[Tensor, Tensor]], is_over: Callable[[PerImage], bool] | None = None
) -> PerImage:
    """Judge by what turns images (B, C, H, W) into logits (B, classes); `is_over` as in `evaluate`."""
    log_likelihoods: list[Tensor] = []
    hits: list[Tensor] = []
    for images_BCHW, labels_B in batches:
        if is_over is not None and hits and is_over(PerImage(torch.cat(log_likelihoods), torch.cat(hits))):
            break
        logits = forward(images_BCHW).float()
        log_likelihoods.append(-F.cross_entropy(logits, labels_B, reduction="none").double())
        hits.append(logits.argmax(1).eq(labels_B).double())
    return PerImage(torch.cat(log_likelihoods), torch.cat(hits))
