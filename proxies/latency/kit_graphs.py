"""What the graphs of a kit compute, which its answer and the table made of that repeat."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxies.target import INT8_BACKEND, Target
from space.registry import Value


class KitGraphs(Value):
    """A pass of some images, in single precision or in INT8.

    Args:
        batch: images a pass.
        int8: whether convolutions and linear layers are quantised.
    """

    batch: Annotated[int, Field(ge=1)] = 1
    int8: bool = False

    @property
    def target(self) -> Target:
        """By whose backend the graphs are made."""
        return Target(backend=INT8_BACKEND if self.int8 else "ort", batch=self.batch)

    def __str__(self) -> str:
        images = "one image" if self.batch == 1 else f"{self.batch} images"
        return f"{images} a pass{' in INT8' if self.int8 else ''}"
