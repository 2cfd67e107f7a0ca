"""Batch norm statistics of one architecture, estimated before it is judged or exported.

The statistics that training leaves are of a mixture of all paths; an architecture judged with them is judged by chance
(https://arxiv.org/abs/1903.05134, section 3.4).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from space.architecture import Architecture
from space.network import TokenMixerNet, build_network
from supernet.network import Statistics, Supernet


@torch.no_grad()
def calibrate(supernet: Supernet, architecture: Architecture, batches_BCHW: Sequence[Tensor]) -> Statistics:
    """Statistics averaged over batches of training images of about the same size; at least one batch."""
    fresh = supernet.no_statistics(architecture)
    for images_BCHW in batches_BCHW:
        supernet(images_BCHW, architecture, fresh=fresh)
    return fresh


def inherited_weights(supernet: Supernet, batches_BCHW: Sequence[Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """The state dict of an architecture's network: weights inherited from the supernet, statistics of the batches."""
    return supernet.export(architecture, calibrate(supernet, architecture, batches_BCHW))


def inherited_network(supernet: Supernet, batches_BCHW: Sequence[Tensor], architecture: Architecture) -> TokenMixerNet:
    """An architecture's network on the CPU, in evaluation mode, with its `inherited_weights`."""
    network = build_network(architecture)
    network.load_state_dict(inherited_weights(supernet, batches_BCHW, architecture))
    return network.eval()
