"""DaViT's channel group attention (https://arxiv.org/abs/2204.03645, section 3.3)."""

from __future__ import annotations

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
        qkv_BNgd = self.project_jointly(x_BHWC.flatten(1, 2)).unflatten(-1, (3, self.num_groups, -1))
        # One copy here saves the matrix products one apiece.
        q_BgNd, k_BgNd, v_BgNd = qkv_BNgd.permute(2, 0, 3, 1, 4).contiguous().unbind(0)
        # No scaled_dot_product_attention: its fused kernels refuse channels as tokens, and the unfused one computes bf16 in fp32.
        # The scale multiplies the small product rather than a map.
        affinity_Bgdd = (k_BgNd.transpose(-2, -1) @ v_BgNd * self.head_dim**-0.5).softmax(-1)
        mixed_BgNd = q_BgNd @ affinity_Bgdd.transpose(-2, -1)
        return self.proj(mixed_BgNd.transpose(1, 2).flatten(2)).view_as(x_BHWC)
