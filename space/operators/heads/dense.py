"""What heads that label every pixel share."""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from space.operators.layers import channels_first, channels_last


class DenseHead(nn.Module):
    """Dropout of whole channels and a linear classifier for every pixel; subclasses combine maps before it.

    A head is built with the widths of its maps, then the number of classes; for 0 classes it returns the classifier's input.

    Attributes:
        width: channels of the classifier's input.
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.width = dim
        self.drop = nn.Dropout2d(0.0)
        self.fc: nn.Module = nn.Linear(dim, num_classes) if num_classes else nn.Identity()

    def forward(self, maps_BHWC: list[Tensor]) -> Tensor:
        """Logits (B, H, W, classes), as large as the first map."""
        return self.fc(channels_last(self.drop(channels_first(self.combined(maps_BHWC)))))

    def combined(self, maps_BHWC: list[Tensor]) -> Tensor:
        """The classifier's input, (B, H, W, C)."""
        raise NotImplementedError

    def init_weights(self) -> None:
        """As in mmsegmentation: the classifier from N(0, 0.01), layers before a batch norm by their outputs (Kaiming)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(self.fc, nn.Linear):
            nn.init.normal_(self.fc.weight, std=0.01)


def resized(x_BCHW: Tensor, like_BCHW: Tensor) -> Tensor:
    """A map interpolated to another map's height and width, (B, C, H, W)."""
    return F.interpolate(x_BCHW, (like_BCHW.shape[2], like_BCHW.shape[3]), mode="bilinear", align_corners=False)


def check_halving(shapes: tuple[tuple[int, int, int], ...], least: int) -> None:
    """ValueError unless there are enough maps, each about half as high and wide as the one before."""
    sizes = [shape[:2] for shape in shapes]
    halves = all(
        after in (before // 2, -(-before // 2), 1) for one, other in itertools.pairwise(sizes)
        for before, after in zip(one, other, strict=True)
    )
    if len(shapes) < least or not halves:
        got = ", ".join("x".join(map(str, size)) for size in sizes)
        raise ValueError(f"got feature maps of {got}, expected at least {least}, each half as large as the one before")
