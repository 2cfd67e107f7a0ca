"""The loss of a network's outputs: against labels, a distillation target, or both."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Distilled:
    """Logits with a distillation target (https://arxiv.org/abs/1503.02531).

    The loss is (1 - weight) CE(labels) + weight temperature² CE(target), the latter at that temperature. The second term equals the
    Kullback-Leibler divergence from the teacher but for the teacher's entropy, which has no gradient.

    Args:
        logits: (B, classes), the student's.
        target: (B, classes), the teacher's probabilities at the same temperature.
        weight: of the target; the labels have the rest.
    """

    logits: Tensor
    target: Tensor
    weight: float = 1.0
    temperature: float = 1.0


Output = Tensor | Distilled
"""Logits (B, classes) to compare with the labels, or logits with a distillation target."""


def loss_of(output: Output, labels: Tensor, label_smoothing: float) -> Tensor:
    """The mean loss of a batch, a scalar.

    Args:
        labels: classes (B,), or probabilities (B, classes) where images were mixed.
        label_smoothing: of the labels; 0 for those that are smooth already.
    """
    if isinstance(output, Tensor):
        return F.cross_entropy(output.float(), labels, label_smoothing=label_smoothing)
    logits, weight, temperature = output.logits.float(), output.weight, output.temperature
    distillation = temperature**2 * F.cross_entropy(logits / temperature, output.target.float())
    if weight == 1:
        return distillation
    return (1 - weight) * F.cross_entropy(logits, labels, label_smoothing=label_smoothing) + weight * distillation
