"""Shunted self-attention (https://arxiv.org/abs/2111.15193, section 3.1), as the official code computes it."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from space.kinds import MIXERS, NORMS
from space.operators.layers import Conv, DepthwiseConv, ResidualDepthwiseConv, attend, count_heads


@MIXERS.register("ssa", paper="https://arxiv.org/abs/2111.15193", norm=NORMS("layer_norm", eps=1e-6))
class ShuntedSelfAttention(nn.Module):
    """Softmax attention whose heads attend keys and values at two scales, with local enhancement of the values.

    With `sr_ratio` r > 1 half of the heads attend tokens merged r x r (coarse), the others tokens merged r/2 x r/2
    (fine); rows and columns that do not fill a merged token are dropped. With `sr_ratio` 1 it is attention over all
    tokens, and the enhancement is added to its output.

    Coarse and fine heads alternate, so that a leading slice of the heads holds both (the official code puts all
    coarse heads first; converting its weights permutes the heads of `q` and `proj`).

    Args:
        sr_ratio: r, the side of a coarse merged token.
        head_dim: channels of a head.
    """

    last_linear = "proj"

    def __init__(self, dim: int, *, sr_ratio: Literal[1, 2, 4, 8], head_dim: PositiveInt = 32) -> None:
        super().__init__()
        self.check(dim, sr_ratio, sr_ratio, sr_ratio=sr_ratio, head_dim=head_dim)
        self.num_heads = count_heads(dim, head_dim)
        self.q = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)
        if sr_ratio == 1:
            self.scales = nn.ModuleList([_Scale(dim, dim, 1, merge=False)])
        else:
            fine = self.num_heads // 2 * head_dim
            self.scales = nn.ModuleList([_Scale(dim, dim - fine, sr_ratio, True), _Scale(dim, fine, sr_ratio // 2, True)])

    @staticmethod
    def check(dim: int, height: int, width: int, *, sr_ratio: int, head_dim: int) -> None:
        if count_heads(dim, head_dim) < 2 and sr_ratio > 1:
            raise ValueError(f"got width {dim}, one head of {head_dim}; expected two heads or more for two scales")
        if min(height, width) < sr_ratio:
            raise ValueError(f"got a {height}x{width} map, expected at least {sr_ratio}x{sr_ratio} for sr_ratio {sr_ratio}")

    def forward(self, x_BHWC: Tensor) -> Tensor:
        q_BNC = self.q(x_BHWC.flatten(1, 2))
        scales: list[tuple[Tensor, Tensor, Tensor]] = []
        for scale in self.scales:
            scales.append(scale(x_BHWC))
        if len(scales) == 1:
            k_BNC, v_BNC, detail_BNC = scales[0]
            mixed_BNC = attend(q_BNC, k_BNC, v_BNC, self.num_heads) + detail_BNC
        else:
            mixed_BNC = self._attend_at_two(q_BNC.unflatten(-1, (self.num_heads, -1)), scales)
        return self.proj(mixed_BNC).view_as(x_BHWC)

    def _attend_at_two(self, q_BNhd: Tensor, scales: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        """Heads in the order coarse, fine, coarse, ...; of an odd number the last one is coarse: (B, N, C)."""
        num_fine = self.num_heads // 2
        coarse_BNC = attend(q_BNhd[:, :, 0::2].flatten(2), scales[0][0], scales[0][2], self.num_heads - num_fine)
        fine_BNC = attend(q_BNhd[:, :, 1::2].flatten(2), scales[1][0], scales[1][2], num_fine)
        coarse_BNhd, fine_BNhd = coarse_BNC.unflatten(-1, (self.num_heads - num_fine, -1)), fine_BNC.unflatten(-1, (num_fine, -1))
        mixed_BNhd = torch.stack((coarse_BNhd[:, :, :num_fine], fine_BNhd), 3).flatten(2, 3)
        if self.num_heads % 2:
            mixed_BNhd = torch.cat((mixed_BNhd, coarse_BNhd[:, :, num_fine:]), 2)
        return mixed_BNhd.flatten(2)


class _Scale(nn.Module):
    """Keys and values of the heads of one scale, and the values' local enhancement: three times (B, M, dim).

    With `merge` the enhancement is the enhanced values, without it the detail alone.
    """

    def __init__(self, in_dim: int, dim: int, stride: int, merge: bool) -> None:
        super().__init__()
        self.merge = Conv(in_dim, in_dim, stride, stride) if merge else None
        self.norm = nn.LayerNorm(in_dim) if merge else None
        self.k = nn.Linear(in_dim, dim)
        self.v = nn.Linear(in_dim, dim)
        self.local = ResidualDepthwiseConv(dim, 3) if merge else DepthwiseConv(dim, 3)

    def forward(self, x_BHWC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.merge is not None and self.norm is not None:
            x_BHWC = F.gelu(self.norm(self.merge(x_BHWC)))
        v_BHWC = self.v(x_BHWC)
        return self.k(x_BHWC).flatten(1, 2), v_BHWC.flatten(1, 2), self.local(v_BHWC).flatten(1, 2)
