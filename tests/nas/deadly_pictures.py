"""A data set of a caller's that costs the first worker that reads it its life."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class DeadlyPictures:
    """Noise, in three classes; the first process but that of `owner` to look at an image is killed.

    Args:
        death: a file that says that it was.
    """

    death: Path
    owner: int
    classes = ("ant", "bee", "cow")

    @property
    def targets(self) -> list[int]:
        return [number % 3 for number in range(len(self))]

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        if os.getpid() != self.owner and not self.death.exists():
            self.death.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8), index % 3
