"""Adaptive average pooling that graphs of any size can hold."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def averaged(x_BCHW: Tensor, height: int, width: int) -> Tensor:
    """The map, averaged to another size by adaptive pooling. It branches on sizes, so modules that call it wrap it for torch.fx."""
    # Tensors, with the example's values, are what torch.jit traces.
    sizes = (height, width, x_BCHW.shape[2], x_BCHW.shape[3])
    if all(isinstance(size, (int, Tensor)) for size in sizes):
        return F.adaptive_avg_pool2d(x_BCHW, (height, width))
    # An ONNX graph of adaptive pooling is right for the example's size alone.
    rows, columns = _averaging(x_BCHW.shape[2], height, x_BCHW), _averaging(x_BCHW.shape[3], width, x_BCHW)
    return rows @ x_BCHW @ columns.transpose(0, 1)


def _averaging(length: int, averages: int, like: Tensor) -> Tensor:
    """Adaptive pooling of a line as a matrix (averages, length): average i is over j from i * length / averages on, rounded outwards."""
    i, j = torch.arange(averages, device=like.device)[:, None], torch.arange(length, device=like.device)
    covered = ((i * length < (j + 1) * averages) & (j * averages < (i + 1) * length)).to(like.dtype)
    return covered / covered.sum(1, keepdim=True)
