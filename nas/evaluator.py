"""What judges an architecture during a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from safetensors.torch import save
from torch import Tensor

from space.architecture import Architecture
from space.files import write_atomically
from supernet.accuracy import Score, evaluate
from supernet.calibration import calibrate
from supernet.network import Supernet


class Evaluator(Protocol):
    """Scores an architecture; the same architecture always scores the same."""

    def __call__(self, architecture: Architecture) -> Score: ...


@dataclass(frozen=True)
class SupernetEvaluator:
    """Scores with a trained supernet's weights, on the same calibration and search images for every architecture."""

    supernet: Supernet
    calibration: Sequence[Tensor]
    images: Sequence[tuple[Tensor, Tensor]]

    def __call__(self, architecture: Architecture) -> Score:
        return evaluate(self.supernet, architecture, self.calibration, self.images)

    def write_weights(self, architecture: Architecture, file: Path) -> None:
        """Write the weights that an architecture inherits, batch norm statistics included, as its network's state dict."""
        statistics = calibrate(self.supernet, architecture, self.calibration)
        write_atomically(file, save(self.supernet.export(architecture, statistics)))
