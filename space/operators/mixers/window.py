"""DaViT's spatial window attention (https://arxiv.org/abs/2204.03645, section 3.2)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from space.kinds import MIXERS, NORMS
from space.operators.layers import QueryKeyValue, attend, count_heads


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
        batch, height, width, _ = x_BHWC.shape
        side = self.window_size
        rows, columns = (height + side - 1) // side, (width + side - 1) // side
        # Queries, keys and values are cut into windows in one copy.
        q_BNC, k_BNC, v_BNC = _windows(self.project_jointly(x_BHWC), self._biases(), side).chunk(3, -1)
        mixed_BNC = attend(q_BNC, k_BNC, v_BNC, self.num_heads)
        mixed = mixed_BNC.view(batch, rows, columns, side, side, -1).transpose(2, 3)
        mixed_BHWC = mixed.reshape(batch, rows * side, columns * side, -1)
        return self.proj(_cropped(mixed_BHWC, height, width))

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
def _windows(x_BHWC: Tensor, biases: list[Tensor], side: int) -> Tensor:
    """Pad a map with the biases, right and bottom, and cut it into windows: (B * windows, side ** 2, C)."""
    batch, height, width, channels = x_BHWC.shape
    rows, columns = (height + side - 1) // side, (width + side - 1) // side
    # A graph for any size has no branches: there the sides are symbols, and the map is always padded.
    if not isinstance(height, int) or not isinstance(width, int) or height % side + width % side > 0:
        padding_C = torch.cat(biases).to(x_BHWC.dtype)
        x_BHWC = torch.cat((x_BHWC, padding_C.expand(batch, height, side - 1, channels)), 2)
        x_BHWC = torch.cat((x_BHWC, padding_C.expand(batch, side - 1, width + side - 1, channels)), 1)
        x_BHWC = _cropped(x_BHWC, rows * side, columns * side)
    tiles = x_BHWC.reshape(batch, rows, side, columns, side, channels).transpose(2, 3)
    return tiles.reshape(batch * rows * columns, side * side, channels)


@torch.fx.wrap
def _cropped(x_BHWC: Tensor, height: int, width: int) -> Tensor:
    """The upper left part of a map."""
    if isinstance(height, int) and isinstance(width, int):
        return x_BHWC[:, :height, :width]
    # Whether a slice is contiguous depends on the sides, which a graph for any size cannot ask.
    rows, columns = torch.arange(height, device=x_BHWC.device), torch.arange(width, device=x_BHWC.device)
    return x_BHWC.index_select(1, rows).index_select(2, columns)
