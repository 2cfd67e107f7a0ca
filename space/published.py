"""Published figures of networks."""

from __future__ import annotations

from pydantic import PositiveFloat

from space.registry import Value


class Published(Value):
    """Figures of a paper or its code's README, for an architecture file's classes, and for its image size unless a note says otherwise.

    Args:
        paper, code: where the network comes from.
        params, macs: parameters, and multiply-adds of one image; None where nothing is published.
        top1: of a classifier: accuracy on ImageNet's validation images, in percent.
        miou: of a segmentation network: mean intersection over union on ADE20K's validation images, at one scale, in percent.
        approximate: the network was never released; its architecture is a reconstruction.
        note: a caveat for comparisons.
    """

    paper: str
    code: str
    params: PositiveFloat | None = None
    macs: PositiveFloat | None = None
    top1: PositiveFloat | None = None
    miou: PositiveFloat | None = None
    approximate: bool = False
    note: str = ""

    @property
    def score(self) -> float | None:
        """The accuracy or the mean intersection over union, in percent."""
        return self.top1 or self.miou

    @property
    def headline(self) -> str:
        """The score as a table shows it; empty where there is none."""
        return f"{self.score:.1f}" if self.score else ""
