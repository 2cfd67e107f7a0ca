"""Heads: the last map (B, H, W, C) to logits (B, classes), or to pooled features where there are no classes.

Norm before pooling and norm after it are equal for a batch norm in evaluation, and for nothing else. Every head is a
`PoolingHead`, so that a network can change its classes and its pooling.
"""

from __future__ import annotations

from torch import Tensor, nn

from space.fuse import fold_norm_before
from space.kinds import HEADS, NORMS, Norm
from space.limits import MAX_MAP


class PoolingHead(nn.Module):
    """A norm, the average over the map, dropout, a linear classifier; a kind of head says in what order.

    Attributes:
        global_pool: `avg`, or empty for a head that does not pool: features, and logits, are maps (B, H, W, ...) then.
        norms_maps: whether the norm comes before pooling.
    """

    norms_maps = True

    def __init__(self, dim: int, num_classes: int, norm: Norm) -> None:
        super().__init__()
        self.norm: nn.Module = norm.build(dim)
        self.drop = nn.Dropout(0.0)
        self.fc: nn.Module = nn.Linear(dim, num_classes) if num_classes else nn.Identity()
        self.global_pool = "avg"

    def pool(self, x_BHWC: Tensor) -> Tensor:
        """What the classifier sees, (B, C)."""
        raise NotImplementedError

    def average(self, x_BHWC: Tensor) -> Tensor:
        """The mean over the map, (B, 1, 1, C), or the map itself where the head does not pool."""
        return x_BHWC.mean((1, 2), keepdim=True) if self.global_pool else x_BHWC

    def flat(self, x_BHWC: Tensor) -> Tensor:
        """(B, C) of a pooled map (B, 1, 1, C)."""
        return x_BHWC.flatten(1) if self.global_pool else x_BHWC

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.fc(self.drop(self.pool(x_BHWC)))

    def classifiers(self) -> tuple[nn.Module | None, ...]:
        """The linear layers that see the normed features; something else, or None, stands for none."""
        return (self.fc,)

    def fused(self) -> nn.Module:
        """Fold a batch norm into the classifier: both are affine, and so is the mean between them."""
        layers = [layer for layer in self.classifiers() if isinstance(layer, nn.Linear)]
        if isinstance(self.norm, nn.BatchNorm2d) and layers:
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
        return self.flat(self.average(self.norm(x_BHWC)))


@HEADS.register("pool_norm_head", paper="https://arxiv.org/abs/2204.03645")
class PoolNormHead(PoolingHead):
    """Average over the map, `norm`, linear: DaViT (layer norm), TopFormer's classifier (batch norm)."""

    norms_maps = False

    def __init__(self, dim: int, num_classes: int, *, norm: Norm = NORMS("layer_norm")) -> None:
        super().__init__(dim, num_classes, norm)

    def pool(self, x_BHWC: Tensor) -> Tensor:
        return self.flat(self.norm(self.average(x_BHWC)))


@HEADS.register("token_label_head", paper="https://arxiv.org/abs/2104.10858")
class TokenLabelHead(NormPoolHead):
    """`norm`, average over the map, linear, plus half of a second classifier's greatest logits over all places.

    UniFormer-L is published with it: the second classifier learns token labels. The first alone would be `norm_pool_head`.
    Without pooling, half of the second classifier's logits are added place by place.
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
        x_BHWC = self.norm(x_BHWC)
        logits = self.fc(self.drop(self.flat(self.average(x_BHWC))))
        if self.aux is None:
            return logits
        places_BHWK = 0.5 * self.aux(x_BHWC)
        return logits + (places_BHWK.amax((1, 2)) if self.global_pool else places_BHWK)
