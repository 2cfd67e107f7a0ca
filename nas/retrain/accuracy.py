"""The accuracy of a single network, measured by all processes that train it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from nas.runs.records.metadata import MeasuredAccuracy
from supernet.data.batches import evaluation_batches
from supernet.data.images import ImageSet
from supernet.intervals import over_images
from supernet.training.distributed import all_reduced, num_processes, process_index


@torch.no_grad()
def measure_accuracy(
    network: nn.Module, images: ImageSet, indices: Sequence[int] | np.ndarray, image_size: int, state: Mapping[str, Tensor] | None = None
) -> MeasuredAccuracy:
    """Classify some images with a network in evaluation mode.

    Every process that trains the network must call this: each classifies its share of the images.

    Args:
        state: tensors to run instead of the network's own, by name.
    """
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    correct, seen = torch.zeros((), dtype=torch.int64, device=device), 0
    for images_BCHW, labels_B in evaluation_batches(images, indices[process_index() :: num_processes()], image_size, device=device):
        logits = functional_call(network, dict(state or {}), (images_BCHW,))
        correct += logits.argmax(1).eq(labels_B).sum()
        seen += len(labels_B)
    network.train(was_training)
    total_correct, total_seen = all_reduced(torch.stack((correct, torch.tensor(seen, device=device)))).tolist()
    found = over_images(total_correct / total_seen, total_seen)
    return MeasuredAccuracy(found.share, (found.low, found.high), total_seen)
