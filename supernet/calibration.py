"""Batch norm statistics of one architecture, estimated afresh before it is judged.

Statistics that training leaves behind mix all paths; an architecture judged with them is judged by chance
(https://arxiv.org/abs/1903.05134, section 3.4).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from space.architecture import Architecture
from supernet.network import Statistics, Supernet


@torch.no_grad()
def calibrate(supernet: Supernet, architecture: Architecture, batches_BCHW: Sequence[Tensor]) -> Statistics:
    """Statistics averaged over fixed batches of training images, about equal in size; at least one."""
    fresh = supernet.no_statistics(architecture)
    for images_BCHW in batches_BCHW:
        supernet.call(images_BCHW, architecture, statistics=None, fresh=fresh)
    return fresh
