"""Maps cut into square windows, and put together again, by operators that a graph for any size can hold."""

from __future__ import annotations

import torch
from torch import Tensor


def cut(x_BHWC: Tensor, side: int) -> Tensor:
    """The windows of a map that they tile: (B * windows, side ** 2, C)."""
    batch, height, width, channels = x_BHWC.shape
    rows, columns = height // side, width // side
    tiles = x_BHWC.reshape(batch, rows, side, columns, side, channels).transpose(2, 3)
    return tiles.reshape(batch * rows * columns, side * side, channels)


@torch.fx.wrap
def put_together(windows_BNC: Tensor, like_BHWC: Tensor, side: int) -> Tensor:
    """A map as high and wide as another one, of its windows; what these have beyond it, right and bottom, is left out."""
    batch, height, width, _ = like_BHWC.shape
    rows, columns = (height + side - 1) // side, (width + side - 1) // side
    tiles = windows_BNC.view(batch, rows, columns, side, side, -1).transpose(2, 3)
    return cropped(tiles.reshape(batch, rows * side, columns * side, windows_BNC.shape[-1]), height, width)


def cropped(x_BHWC: Tensor, height: int, width: int) -> Tensor:
    """The upper left part of a map."""
    if isinstance(height, int) and isinstance(width, int):
        return x_BHWC[:, :height, :width]
    # Whether a slice is contiguous depends on the sides, which a graph for any size cannot ask.
    rows, columns = torch.arange(height, device=x_BHWC.device), torch.arange(width, device=x_BHWC.device)
    return x_BHWC.index_select(1, rows).index_select(2, columns)
