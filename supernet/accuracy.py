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
    """Accuracy (a share of 1) and mean log-likelihood (nats) on held-out images, with their standard errors."""

    accuracy: float
    accuracy_stderr: float
    log_likelihood: float
    log_likelihood_stderr: float
    num_images: int


def evaluate(
    supernet: Supernet, architecture: Architecture, calibration: Sequence[Tensor], batches: Sequence[tuple[Tensor, Tensor]]
) -> Score:
    """Calibrate the batch norms on training images, then score on labelled batches (images_BCHW, labels_B)."""
    statistics = calibrate(supernet, architecture, calibration)
    return score(lambda images_BCHW: supernet(images_BCHW, architecture, statistics), batches)


@torch.no_grad()
def score(forward: Callable[[Tensor], Tensor], batches: Sequence[tuple[Tensor, Tensor]]) -> Score:
    """Score what turns images (B, C, H, W) into logits (B, classes) on labelled batches."""
    log_likelihoods, hits = [], []
    for images_BCHW, labels_B in batches:
        logits = forward(images_BCHW).float()
        log_likelihoods.append(-F.cross_entropy(logits, labels_B, reduction="none").double())
        hits.append(logits.argmax(1).eq(labels_B).double())
    log_likelihood, hit = torch.cat(log_likelihoods), torch.cat(hits)
    root = math.sqrt(len(hit))
    return Score(
        accuracy=hit.mean().item(),
        accuracy_stderr=hit.std(correction=0).item() / root,
        log_likelihood=log_likelihood.mean().item(),
        log_likelihood_stderr=log_likelihood.std(correction=0).item() / root,
        num_images=len(hit),
    )
