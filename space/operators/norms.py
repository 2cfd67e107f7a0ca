"""Norms, over the last dimension of (B, H, W, C)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from space.kinds import NORMS
from space.operators.layers import BatchNorm

Eps = Annotated[float, Field(gt=0, le=1)]


@NORMS.register("none")
class NoNorm(nn.Identity):
    """The identity: TopFormer's blocks have batch norms inside their branches instead."""

    def __init__(self, dim: int) -> None:
        super().__init__()


@NORMS.register("batch_norm", paper="https://arxiv.org/abs/1502.03167")
class BatchNormOption(BatchNorm):
    """Batch norm over images and pixels, as in UniFormer's local blocks and Container; `eps` is added to the variance."""

    def __init__(self, dim: int, *, eps: Eps = 1e-5) -> None:
        super().__init__(dim, eps)


@NORMS.register("layer_norm", paper="https://arxiv.org/abs/1607.06450")
class LayerNormOption(nn.LayerNorm):
    """Layer norm over channels; DaViT uses `eps` 1e-5, UniFormer's global blocks and Shunted Transformer 1e-6."""

    def __init__(self, dim: int, *, eps: Eps = 1e-5) -> None:
        super().__init__(dim, eps=eps)
