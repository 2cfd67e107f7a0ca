"""DaViT's channel group attention (https://arxiv.org/abs/2204.03645, section 3.3)."""

from __future__ import annotations

import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from space.kinds import MIXERS, NORMS
from space.operators.layers import QueryKeyValue, count_heads


@MIXERS.register("channel_group", paper="https://arxiv.org/abs/2204.03645", norm=NORMS("layer_norm"))
class ChannelGroupAttention(QueryKeyValue):
    """Softmax attention among the channels of each group; every channel is a token as long as the map.

    The official code names the parts softmax(k^T v) q^T, with the scale head_dim ** -0.5.

    Args:
        head_dim: channels of a group.
    """

    def __init__(self, dim: int, *, head_dim: PositiveInt = 32) -> None:
        super().__init__(*(nn.Linear(dim, dim) for _ in range(3)))
        self.num_groups = count_heads(dim, head_dim)
        self.head_dim = head_dim
        self.proj = nn.Linear(dim, dim)

    @staticmethod
    def check(dim: int, height: int, width: int, *, head_dim: int) -> None:
        count_heads(dim, head_dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        q, k, v = self.project(x_BHWC.flatten(1, 2))
        mixed_BgdN = F.scaled_dot_product_attention(self._groups(k), self._groups(v), self._groups(q), scale=self.head_dim**-0.5)
        return self.proj(mixed_BgdN.flatten(1, 2).transpose(1, 2)).view_as(x_BHWC)

    def _groups(self, x_BNC: Tensor) -> Tensor:
        """(B, groups, head_dim, N)."""
        return x_BNC.transpose(1, 2).unflatten(1, (self.num_groups, -1))
