"""UniFormer's global multi-head relation aggregator (https://arxiv.org/abs/2201.09450, equation 6)."""

from __future__ import annotations

from pydantic import PositiveInt
from torch import Tensor, nn

from space.kinds import MIXERS, NORMS
from space.operators.layers import QueryKeyValue, attend, count_heads


@MIXERS.register("global_mhra", paper="https://arxiv.org/abs/2201.09450", norm=NORMS("layer_norm", eps=1e-6))
class GlobalMHRA(QueryKeyValue):
    """Softmax attention over all tokens of the map.

    Args:
        head_dim: channels of a head.
    """

    def __init__(self, dim: int, *, head_dim: PositiveInt = 32) -> None:
        super().__init__(*(nn.Linear(dim, dim) for _ in range(3)))
        self.num_heads = count_heads(dim, head_dim)
        self.proj = nn.Linear(dim, dim)

    @staticmethod
    def check(dim: int, height: int, width: int, *, head_dim: int) -> None:
        count_heads(dim, head_dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        q_BNC, k_BNC, v_BNC = self.project(x_BHWC.flatten(1, 2))
        return self.proj(attend(q_BNC, k_BNC, v_BNC, self.num_heads)).view_as(x_BHWC)
