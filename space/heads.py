"""Heads: the last map (B, H, W, C) to logits (B, classes), or to pooled features where there are no classes.

Norm before pooling and norm after it are equal for a batch norm in evaluation, and for nothing else.
"""

from __future__ import annotations

from torch import Tensor, nn

from space.kinds import HEADS, NORMS, Norm


class _PoolingHead(nn.Module):
    def __init__(self, dim: int, num_classes: int, norm: Norm) -> None:
        super().__init__()
        self.norm = norm.build(dim)
        self.fc = nn.Linear(dim, num_classes) if num_classes else nn.Identity()


@HEADS.register("norm_pool_head", paper="https://arxiv.org/abs/2201.09450")
class NormPoolHead(_PoolingHead):
    """`norm`, average over the map, linear: UniFormer and Container (batch norm), Shunted Transformer (layer norm)."""

    def __init__(self, dim: int, num_classes: int, *, norm: Norm = NORMS("batch_norm")) -> None:
        super().__init__(dim, num_classes, norm)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.fc(self.norm(x_BHWC).mean((1, 2)))


@HEADS.register("pool_norm_head", paper="https://arxiv.org/abs/2204.03645")
class PoolNormHead(_PoolingHead):
    """Average over the map, `norm`, linear: DaViT (layer norm), TopFormer's classifier (batch norm)."""

    def __init__(self, dim: int, num_classes: int, *, norm: Norm = NORMS("layer_norm")) -> None:
        super().__init__(dim, num_classes, norm)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.fc(self.norm(x_BHWC.mean((1, 2), keepdim=True)).flatten(1))


@HEADS.register("token_label_head", paper="https://arxiv.org/abs/2104.10858")
class TokenLabelHead(_PoolingHead):
    """`norm`, average over the map, linear, plus half of a second classifier's greatest logits over all places.

    UniFormer-L is published with it: the second classifier learns token labels. The first alone would be `norm_pool_head`.
    """

    def __init__(self, dim: int, num_classes: int, *, norm: Norm = NORMS("batch_norm")) -> None:
        super().__init__(dim, num_classes, norm)
        self.aux = nn.Linear(dim, num_classes) if num_classes else None

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x_BHWC = self.norm(x_BHWC)
        logits = self.fc(x_BHWC.mean((1, 2)))
        return logits if self.aux is None else logits + 0.5 * self.aux(x_BHWC).amax((1, 2))
