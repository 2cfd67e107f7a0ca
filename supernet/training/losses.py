"""What a network's outputs are told: the labels, a teacher's probabilities, or both."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Taught:
    """Logits that learn a teacher's probabilities, instead of the labels or beside them (https://arxiv.org/abs/1503.02531).

    The loss is (1 - weight) CE(labels) + weight temperature² CE(probabilities), the latter at that temperature: the divergence from
    the teacher up to its own entropy, which has no gradient.

    Args:
        logits: (B, classes).
        probabilities: (B, classes), the teacher's at the same temperature.
    """

    logits: Tensor
    probabilities: Tensor
    weight: float = 1.0
    temperature: float = 1.0


Output = Tensor | Taught
"""Logits (B, classes) that learn the labels, or that learn from a teacher."""


def loss_of(output: Output, targets: Tensor, label_smoothing: float) -> Tensor:
    """The mean loss of a batch, a scalar.

    Args:
        targets: labels (B,), or probabilities (B, classes) where images were mixed.
        label_smoothing: of the targets; 0 for those that are smooth already.
    """
    if isinstance(output, Tensor):
        return F.cross_entropy(output.float(), targets, label_smoothing=label_smoothing)
    logits, weight, temperature = output.logits.float(), output.weight, output.temperature
    taught = temperature**2 * F.cross_entropy(logits / temperature, output.probabilities.float())
    if weight == 1:
        return taught
    return (1 - weight) * F.cross_entropy(logits, targets, label_smoothing=label_smoothing) + weight * taught
