"""DaViT's spatial window attention (https://arxiv.org/abs/2204.03645, section 3.2)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from space.kinds import MIXERS, NORMS
from space.operators.layers import QueryKeyValue, attend, count_heads
from space.operators.windows import cropped, cut, put_together


@MIXERS.register("window", paper="https://arxiv.org/abs/2204.03645", norm=NORMS("layer_norm"))
class WindowAttention(QueryKeyValue):
    """Softmax attention inside windows: no shift, no relative bias, no mask.

    A map that windows do not tile is padded with zeros, right and bottom, and the padded tokens are attended, as in
    the official code. Their keys and values are then the biases, so only real tokens are projected.

    Args:
        window_size: side of a window.
        head_dim: channels of a head.
    """

    # The keys and values of padded tokens must stay the biases, so no norm is folded in.
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
        # Queries, keys and values are cut into windows in one copy.
        windows_BNC = cut(_padded(self.project_jointly(x_BHWC), self._biases(), self.window_size), self.window_size)
        q_BNC, k_BNC, v_BNC = windows_BNC.chunk(3, -1)
        mixed_BNC = attend(q_BNC, k_BNC, v_BNC, self.num_heads)
        return self.proj(put_together(mixed_BNC, x_BHWC, self.window_size))

    def _biases(self) -> list[Tensor]:
        """Query, key and value of a zero token, in three tensors or joined."""
        if self.qkv is not None:
            return [self.qkv.bias if torch.jit.is_scripting() else _bias_of(self.qkv)]
        elif torch.jit.is_scripting():  # noqa: RET505  # TorchScript compiles statements after an `if`
            return [self.q.bias, self.k.bias, self.v.bias]  # type: ignore[list-item]
        else:
            return [_bias_of(self.q), _bias_of(self.k), _bias_of(self.v)]


def _bias_of(layer: nn.Module) -> Tensor:
    """The bias of a linear layer, also of a quantised one, where it is a method."""
    return layer.bias if isinstance(layer, nn.Linear) else layer.bias()  # type: ignore[operator]


@torch.fx.wrap
def _padded(x_BHWC: Tensor, biases: list[Tensor], side: int) -> Tensor:
    """The map, padded with the biases, right and bottom, so that windows tile it."""
    batch, height, width, channels = x_BHWC.shape
    # A graph for any size has no branches: there the sides are symbols, and the map is always padded.
    if isinstance(height, int) and isinstance(width, int) and height % side + width % side == 0:
        return x_BHWC
    padding_C = torch.cat(biases).to(x_BHWC.dtype)
    x_BHWC = torch.cat((x_BHWC, padding_C.expand(batch, height, side - 1, channels)), 2)
    x_BHWC = torch.cat((x_BHWC, padding_C.expand(batch, side - 1, width + side - 1, channels)), 1)
    return cropped(x_BHWC, (height + side - 1) // side * side, (width + side - 1) // side * side)
