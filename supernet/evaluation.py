"""Judging on held-out images: an architecture with the supernet's weights, or a network of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from space.architecture import Architecture
from supernet.calibration import calibrate
from supernet.network import Supernet
from supernet.score import PerImage
from supernet.tasks.task import Task


def evaluate(
    supernet: Supernet,
    architecture: Architecture,
    calibration: Sequence[Tensor],
    batches: Sequence[tuple[Tensor, Tensor]],
    task: Task,
    is_over: Callable[[PerImage], bool] | None = None,
) -> PerImage:
    """Calibrate the batch norms on training images, then score batches of images (B, C, H, W) and targets (B, ...).

    Args:
        is_over: called after each batch but the last with the images scored so far; True stops the evaluation.
    """
    statistics = calibrate(supernet, architecture, calibration)
    return judge(lambda images_BCHW: supernet(images_BCHW, architecture, statistics), batches, task, is_over)


@torch.no_grad()
def judge(
    forward: Callable[[Tensor], Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
    task: Task,
    is_over: Callable[[PerImage], bool] | None = None,
) -> PerImage:
    """Score a function from images (B, C, H, W) to logits (B, classes, ...); `is_over` as in `evaluate`."""
    log_likelihoods: list[Tensor] = []
    counts: list[Tensor] = []
    for images_BCHW, targets in batches:
        if is_over is not None and counts and is_over(PerImage(torch.cat(log_likelihoods), torch.cat(counts), task.figures)):
            break
        of_batch = task.judge(forward(images_BCHW).float(), targets)
        log_likelihoods.append(of_batch[0])
        counts.append(of_batch[1])
    return PerImage(torch.cat(log_likelihoods), torch.cat(counts), task.figures)
