"""DaViT's spatial window attention (https://arxiv.org/abs/2204.03645, section 3.2)."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from space.kinds import MIXERS, NORMS
from space.layers import QueryKeyValue, attend, count_heads


@MIXERS.register("window", paper="https://arxiv.org/abs/2204.03645", norm=NORMS("layer_norm"), fixed_size_graph=True)
class WindowAttention(QueryKeyValue):
    """Softmax attention inside windows: no shift, no relative bias, no mask.

    A map that windows do not tile is padded with zeros, right and bottom, and the padded tokens are attended, as in
    the official code. Their keys and values are then the biases, so only real tokens are projected.

    Args:
        window_size: side of a window.
        head_dim: channels of a head.
    """

    # A padded token's key and value must stay the biases, so these take in no norm.
    first_linears = ()

    def __init__(self, dim: int, *, window_size: Annotated[int, Field(ge=1, le=64)] = 7, head_dim: PositiveInt = 32) -> None:
        super().__init__(*(nn.Linear(dim, dim) for _ in range(3)))
        self.num_heads = count_heads(dim, head_dim)
        self.window_size = window_size
        self.proj = nn.Linear(dim, dim)

    @staticmethod
    def check(dim: int, height: int, width: int, *, window_size: int, head_dim: int) -> None:
        count_heads(dim, head_dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        batch, height, width, _ = x_BHWC.shape
        q, k, v = self.project(x_BHWC, self._windows)
        mixed_BNC = attend(q, k, v, self.num_heads)
        rows, columns = -(-height // self.window_size), -(-width // self.window_size)
        mixed = mixed_BNC.view(batch, rows, columns, self.window_size, self.window_size, -1).transpose(2, 3)
        mixed_BHWC = mixed.reshape(batch, rows * self.window_size, columns * self.window_size, -1)
        return self.proj(mixed_BHWC[:, :height, :width])

    def _windows(self, linear: nn.Linear, x_BHWC: Tensor) -> Tensor:
        """Project, pad and cut into windows: (B * windows, window_size ** 2, C)."""
        side = self.window_size
        _, height, width, _ = x_BHWC.shape
        right, bottom = -width % side, -height % side
        padded = right or bottom
        x_BHWC = F.pad(F.linear(x_BHWC, linear.weight), (0, 0, 0, right, 0, bottom)) + linear.bias if padded else linear(x_BHWC)
        tiles = x_BHWC.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3)
        return tiles.reshape(-1, side * side, x_BHWC.shape[-1])
