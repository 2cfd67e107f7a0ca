"""TopFormer's attention (https://arxiv.org/abs/2204.05525, section 3.2), as the official code computes it."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from space.kinds import MIXERS, NORMS
from space.limits import MAX_WIDTH
from space.operators.layers import LinearBN, QueryKeyValue, attend, count_heads

Size = Annotated[int, Field(ge=1, le=1024)]
MAX_VALUES = 4 * MAX_WIDTH
"""Channels of all heads' values together."""


@MIXERS.register("bn_conv_attention", paper="https://arxiv.org/abs/2204.05525", norm=NORMS("none"))
class BnConvAttention(QueryKeyValue):
    """Softmax attention over all tokens with 1x1 convolutions and batch norms, unscaled, ReLU6 before the projection.

    Args:
        key_dim: width of a head's queries and keys.
        value_ratio: width of a head's values, in key_dim.
        num_heads: by default as many as make the values as wide as the map.
    """

    def __init__(self, dim: int, *, key_dim: Size = 16, value_ratio: Size = 2, num_heads: Size | None = None) -> None:
        heads = num_heads or count_heads(dim, key_dim * value_ratio)
        super().__init__(*(LinearBN(dim, heads * size) for size in (key_dim, key_dim, key_dim * value_ratio)))
        self.num_heads = heads
        self.proj = LinearBN(heads * key_dim * value_ratio, dim)

    @staticmethod
    def check(dim: int, height: int, width: int, *, key_dim: int, value_ratio: int, num_heads: int | None) -> None:
        heads = num_heads or count_heads(dim, key_dim * value_ratio)
        if heads * key_dim * value_ratio > MAX_VALUES:
            raise ValueError(f"got {heads} heads of {key_dim * value_ratio} values, expected at most {MAX_VALUES} values in all")

    def init_weights(self) -> None:
        """Start as the identity: the last batch norm's scale is zero, as in the official code."""
        nn.init.zeros_(self.proj.bn.weight)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        q, k, v = self.project(x_BHWC)
        mixed_BNV = attend(q.flatten(1, 2), k.flatten(1, 2), v.flatten(1, 2), self.num_heads, scale=1.0)
        return self.proj(F.relu6(mixed_BNV).view_as(v))
