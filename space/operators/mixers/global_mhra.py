"""UniFormer's global multi-head relation aggregator (https://arxiv.org/abs/2201.09450, equation 6)."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from space.kinds import MIXERS, NORMS
from space.operators.layers import QueryKeyValue, attend, count_heads
from space.operators.windows import cropped, cut, put_together


@MIXERS.register(
    "global_mhra", paper="https://arxiv.org/abs/2201.09450", norm=NORMS("layer_norm", eps=1e-6), elastic=("window_size",),
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
        return put_together(self.mixed(cut(_padded(x_BHWC, side), side)), x_BHWC, side)

    def mixed(self, x_BNC: Tensor) -> Tensor:
        """Attention among tokens, (B, N, C)."""
        q_BNC, k_BNC, v_BNC = self.project(x_BNC)
        return self.proj(attend(q_BNC, k_BNC, v_BNC, self.num_heads))


@torch.fx.wrap
def _padded(x_BHWC: Tensor, side: int) -> Tensor:
    """The map, padded with zeros, right and bottom, so that windows tile it."""
    rows, columns = (x_BHWC.shape[1] + side - 1) // side, (x_BHWC.shape[2] + side - 1) // side
    # By as much in a graph for any size as in any other one: there a padding by a symbol would be a branch.
    return cropped(F.pad(x_BHWC, (0, 0, 0, side - 1, 0, side - 1)), rows * side, columns * side)
