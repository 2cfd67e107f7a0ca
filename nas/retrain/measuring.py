"""The figures of a single network, measured by all processes that train it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from supernet.data.images import ImageSet
from supernet.evaluation import judge
from supernet.graph_replay import replayed
from supernet.score import PerImage
from supernet.tasks.task import task_of_images
from supernet.training.distributed import all_gathered, num_processes, process_index


@torch.no_grad()
def measure(
    network: nn.Module, images: ImageSet, indices: Sequence[int] | np.ndarray, image_size: int, state: Mapping[str, Tensor] | None = None,
    may_compile: bool = True,
) -> PerImage:  # fmt: skip
    """Judge a network in evaluation mode on some images.

    Every process that trains the network must call this: each sees its share of the images.

    Args:
        state: tensors to run instead of the network's own, by name.
        may_compile: whether many batches are replayed from a CUDA graph.
    """
    task, device, was_training = task_of_images(images), next(network.parameters()).device, network.training
    network.eval()
    tensors = dict(state or {})
    own = indices[process_index() :: num_processes()]
    forward = replayed(
        lambda images_BCHW: functional_call(network, tensors, (images_BCHW,)), len(own) // task.evaluation_batch, device, may_compile
    )
    # A process without images of its own judges one, for the shape of what it tells the others, and leaves it out.
    batches = task.evaluation_batches(images, own if len(own) else indices[:1], image_size, device=device)
    judged = judge(forward, batches, task)
    network.train(was_training)
    return _of_all(replace(judged, log_likelihoods=judged.log_likelihoods[: len(own)], counts=judged.counts[: len(own)]))


def _of_all(judged: PerImage) -> PerImage:
    """What all processes have judged."""
    return replace(judged, log_likelihoods=all_gathered(judged.log_likelihoods), counts=all_gathered(judged.counts))
