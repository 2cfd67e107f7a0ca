"""The loss of a network's outputs: against the images' targets, a distillation target, or both."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from supernet.tasks.task import Task


@dataclass(frozen=True, eq=False)
class Distilled:
    """Logits with a distillation target (https://arxiv.org/abs/1503.02531).

    The loss is (1 - weight) L + weight temperature² CE(target), the latter at that temperature, where L is the task's own loss. The
    second term equals the Kullback-Leibler divergence from the teacher but for the teacher's entropy, which has no gradient. Of logits
    on a map it is the mean over all places, those included that have no class.

    Args:
        logits: (B, classes, ...), the student's.
        target: (B, classes, ...), the teacher's probabilities at the same temperature.
        weight: of the target; the task's own loss has the rest.
    """

    logits: Tensor
    target: Tensor
    weight: float = 1.0
    temperature: float = 1.0


Output = Tensor | Distilled
"""Logits (B, classes, ...) to compare with the targets, or logits with a distillation target."""


def loss_of(output: Output, targets: Tensor, task: Task, label_smoothing: float) -> Tensor:
    """The mean loss of a batch, a scalar.

    Args:
        targets: (B, ...), as the task has them.
        label_smoothing: of the targets; 0 for those that are smooth already.
    """
    if isinstance(output, Tensor):
        return task.loss(output.float(), targets, label_smoothing)
    logits, weight, temperature = output.logits.float(), output.weight, output.temperature
    distillation = temperature**2 * F.cross_entropy(logits / temperature, output.target.float())
    if weight == 1:
        return distillation
    return (1 - weight) * task.loss(logits, targets, label_smoothing) + weight * distillation
