"""Published figures of networks."""

from __future__ import annotations

from pydantic import PositiveFloat

from space.registry import Value


class Published(Value):
    """Figures of a paper or its code's README, for 224 px images and 1000 classes.

    Args:
        paper, code: where the network comes from.
        params, macs: parameters, and multiply-adds of one image; None where nothing is published.
        top1: accuracy on ImageNet's validation images, in percent.
        approximate: the network was never released; its architecture is a reconstruction.
        note: a caveat for comparisons.
    """

    paper: str
    code: str
    params: PositiveFloat
    macs: PositiveFloat | None = None
    top1: PositiveFloat
    approximate: bool = False
    note: str = ""
