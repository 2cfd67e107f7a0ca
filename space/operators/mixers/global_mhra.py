"""UniFormer's global multi-head relation aggregator (https://arxiv.org/abs/2201.09450, equation 6)."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from space.kinds import MIXERS, NORMS
from space.operators.layers import QueryKeyValue, attend, count_heads


@MIXERS.register(
    "global_mhra", paper="https://arxiv.org/abs/2201.09450", norm=NORMS("layer_norm", eps=1e-6), elastic=("window_size",),
    fixed_size_graph="window_size",
)
class GlobalMHRA(QueryKeyValue):
    """Softmax attention over all tokens of the map, or inside windows as in UniFormer's networks for dense prediction.

    The weights are the same for any window. A map that windows do not tile is padded with zeros, right and bottom, and the padded tokens
    are attended, as in the official code.

    Args:
        head_dim: channels of a head.
        window_size: side of a window; 0 is the whole map.
    """

    # TorchScript knows no tuples of any length.
    __jit_ignored_attributes__ = ("first_linears",)

    def __init__(self, dim: int, *, head_dim: PositiveInt = 32, window_size: Annotated[int, Field(ge=0, le=64)] = 0) -> None:
        super().__init__(*(nn.Linear(dim, dim) for _ in range(3)))
        self.num_heads = count_heads(dim, head_dim)
        self.window_size = window_size
        self.proj = nn.Linear(dim, dim)
        if window_size:
            # Padded tokens must stay zero, so no norm is folded in.
            self.first_linears = ()

    @staticmethod
    def check(dim: int, height: int, width: int, *, head_dim: int, window_size: int) -> None:
        count_heads(dim, head_dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        side = self.window_size
        if side == 0:
            return self.mixed(x_BHWC.flatten(1, 2)).view_as(x_BHWC)
        batch, height, width, dim = x_BHWC.shape
        rows, columns = (height + side - 1) // side, (width + side - 1) // side
        padded_BHWC = F.pad(x_BHWC, (0, 0, 0, columns * side - width, 0, rows * side - height))
        tiles = padded_BHWC.reshape(batch, rows, side, columns, side, dim).transpose(2, 3)
        mixed = self.mixed(tiles.reshape(batch * rows * columns, side * side, dim))
        mixed = mixed.view(batch, rows, columns, side, side, dim).transpose(2, 3)
        return mixed.reshape(batch, rows * side, columns * side, dim)[:, :height, :width]

    def mixed(self, x_BNC: Tensor) -> Tensor:
        """Attention among tokens, (B, N, C)."""
        q_BNC, k_BNC, v_BNC = self.project(x_BNC)
        return self.proj(attend(q_BNC, k_BNC, v_BNC, self.num_heads))
