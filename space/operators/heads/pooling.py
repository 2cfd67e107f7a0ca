"""Heads: the last map (B, H, W, C) to logits (B, classes), or to pooled features where there are no classes.

Norm before pooling and norm after it are equal for a batch norm in evaluation, and for nothing else. Every head is a
`PoolingHead`, so that a network can change its classes and its pooling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from space.fuse import fold_norm_before
from space.kinds import HEADS, NORMS, Norm
from space.limits import MAX_MAP
from space.operators.layers import Normed

POOLINGS = ("avg", "max", "avgmax", "catavgmax", "")


class PoolingHead(Normed):
    """A norm, pooling, dropout and a linear classifier; subclasses define their order.

    Attributes:
        global_pool: one of timm's names: `avg`, `max`, `avgmax` (the mean of both) or `catavgmax` (both concatenated). Where it is
            empty, the head does not pool: features and logits are maps (B, H, W, ...). A norm after `catavgmax` norms each half.
        norms_maps: whether the norm comes before pooling.
    """

    __constants__ = ("norms_maps",)
    norms_maps = True

    def __init__(self, dim: int, num_classes: int, norm: Norm) -> None:
        super().__init__(norm.build(dim))
        self.drop = nn.Dropout(0.0)
        self.fc: nn.Module = nn.Linear(dim, num_classes) if num_classes else nn.Identity()
        self.global_pool = "avg"

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.fc(self.drop(self.pool(x_BHWC)))

    def pool(self, x_BHWC: Tensor) -> Tensor:
        """The classifier's input, (B, C)."""
        raise NotImplementedError

    def set_pooling(self, global_pool: str) -> None:
        """Set `global_pool` of a new head; ValueError where there is no such pooling."""
        if global_pool not in POOLINGS:
            raise ValueError(f"global_pool: got {global_pool!r}, expected one of {', '.join(POOLINGS[:-1])}, or '' for no pooling")
        if global_pool == "catavgmax" and isinstance(self.fc, nn.Linear):
            narrow = self.fc.weight
            self.fc = nn.Linear(2 * self.fc.in_features, self.fc.out_features).to(narrow)
            nn.init.normal_(self.fc.weight, std=0.02)
            nn.init.zeros_(self.fc.bias)
        self.global_pool = global_pool

    def reduced(self, x_BHWC: Tensor) -> Tensor:
        """The pooled map (B, 1, 1, C), for `catavgmax` mean and maximum (B, 1, 2, C), or the map itself where the head does not pool."""
        if self.global_pool == "":
            return x_BHWC
        if self.global_pool == "avg":
            return x_BHWC.mean((1, 2), keepdim=True)
        maximum = x_BHWC.amax((1, 2), keepdim=True)
        if self.global_pool == "max":
            return maximum
        mean = x_BHWC.mean((1, 2), keepdim=True)
        return 0.5 * (mean + maximum) if self.global_pool == "avgmax" else torch.cat((mean, maximum), 2)

    def flat(self, x_BHWC: Tensor) -> Tensor:
        """(B, C) of a pooled map (B, 1, 1, C), (B, 2 C) of one with two pixels."""
        return x_BHWC if self.global_pool == "" else x_BHWC.flatten(1)

    def classifiers(self) -> tuple[nn.Module | None, ...]:
        """The linear layers that take the normed features; something else, or None, stands for none."""
        return (self.fc,)

    def fused(self) -> nn.Module:
        """Fold a batch norm into the classifiers where nothing but a mean stands between them, and where it is as wide as they are."""
        layers = [layer for layer in self.classifiers() if isinstance(layer, nn.Linear)]
        is_affine = self.global_pool in ("avg", "") or (not self.norms_maps and self.global_pool != "catavgmax")
        if isinstance(self.norm, nn.BatchNorm2d) and layers and is_affine:
            for layer in layers:
                fold_norm_before(self.norm, layer)
            self.norm = nn.Identity()
        return self


@HEADS.register("norm_pool_head", paper="https://arxiv.org/abs/2201.09450")
class NormPoolHead(PoolingHead):
    """`norm`, average over the map, linear: UniFormer and Container (batch norm), Shunted Transformer (layer norm)."""

    def __init__(self, dim: int, num_classes: int, *, norm: Norm = NORMS("batch_norm")) -> None:
        super().__init__(dim, num_classes, norm)

    def pool(self, x_BHWC: Tensor) -> Tensor:
        return self.flat(self.reduced(self.normed(x_BHWC)))


@HEADS.register("pool_norm_head", paper="https://arxiv.org/abs/2204.03645")
class PoolNormHead(PoolingHead):
    """Average over the map, `norm`, linear: DaViT (layer norm), TopFormer's classifier (batch norm)."""

    norms_maps = False

    def __init__(self, dim: int, num_classes: int, *, norm: Norm = NORMS("layer_norm")) -> None:
        super().__init__(dim, num_classes, norm)

    def pool(self, x_BHWC: Tensor) -> Tensor:
        return self.flat(self.normed(self.reduced(x_BHWC)))


@HEADS.register("token_label_head", paper="https://arxiv.org/abs/2104.10858")
class TokenLabelHead(NormPoolHead):
    """`norm`, average over the map, linear, plus half of the maximum over the map of a second classifier's logits.

    UniFormer-L is published with it: the second classifier learns token labels. Without it this would be `norm_pool_head`.
    Where the head does not pool, half of the second classifier's logits are added pixel by pixel.
    """

    def __init__(self, dim: int, num_classes: int, *, norm: Norm = NORMS("batch_norm")) -> None:
        super().__init__(dim, num_classes, norm=norm)
        self.aux = nn.Linear(dim, num_classes) if num_classes else None

    @staticmethod
    def check(dim: int, num_classes: int, height: int, width: int, **_: object) -> None:
        if num_classes * height * width > MAX_MAP:
            raise ValueError(f"got {num_classes} classes at a {height}x{width} map, expected at most {MAX_MAP} logits")

    def classifiers(self) -> tuple[nn.Module | None, ...]:
        return self.fc, self.aux

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x_BHWC = self.normed(x_BHWC)
        logits = self.fc(self.drop(self.flat(self.reduced(x_BHWC))))
        if self.aux is None:
            return logits
        aux_BHWK = 0.5 * self.aux(x_BHWC)
        return logits + (aux_BHWK if self.global_pool == "" else aux_BHWK.amax((1, 2)))
