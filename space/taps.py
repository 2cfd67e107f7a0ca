"""Feature maps of a network, and taps: what a head of several feature maps does to each of them before it combines them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from space.kinds import HEADS
from space.registry import Spec

Shape = tuple[int, int, int]
"""Height, width and channels of a map."""


@dataclass(frozen=True)
class Source:
    """A feature map that a tap takes, or a run of its channels.

    Args:
        feature: index of the map among the network's feature maps.
        start, stop: of the channels; all of them where `stop` is 0.
    """

    feature: int
    start: int = 0
    stop: int = 0

    def shape(self, shapes: Sequence[Shape]) -> Shape:
        """The shape of what is taken, given those of the feature maps."""
        height, width, channels = shapes[self.feature]
        return height, width, (self.stop or channels) - self.start


@dataclass(frozen=True)
class Tap:
    """An operator on one or a few feature maps: a list of maps (B, H, W, C), the first one's size decides, to (B, H, W, `width`).

    Args:
        spec: of the registry of taps; it is built with the first map's channels and `width`.
    """

    spec: Spec
    sources: tuple[Source, ...]
    width: int


def pyramid_of(stem: Spec, width: int, size: tuple[int, int]) -> tuple[Shape, ...]:
    """The further maps of a stem that is a pyramid, which come before those of the stages; none for other stems.

    Args:
        width: of the first stage.
        size: height and width of the image.
    """
    return stem.factory.pyramid_shapes(width, *size, **stem.options) if hasattr(stem.factory, "pyramid_shapes") else ()


def taps_of(head: Spec, shapes: Sequence[Shape]) -> tuple[Tap, ...]:
    """The taps of a head on feature maps of these shapes; none for a head of the last map alone.

    Raises ValueError where the head cannot take them.
    """
    return head.factory.taps(shapes, **head.options) if hasattr(head.factory, "taps") else ()


def task_of(head: Spec) -> str:
    """What a head's logits are of, "classification" or "segmentation"."""
    return str(head.traits.get("task", "classification"))


def heads_that_fit(shapes: Sequence[Shape], task: str) -> tuple[str, ...]:
    """Names of the heads for a task that take feature maps of these shapes with their default options."""
    fitting = []
    for name in HEADS.names():
        if task_of(head := HEADS(name)) == task:
            with suppress(ValueError):
                taps_of(head, shapes)
                fitting.append(name)
    return tuple(fitting)
