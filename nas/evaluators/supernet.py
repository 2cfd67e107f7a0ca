"""What judges an architecture during a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from safetensors.torch import save
from torch import Tensor

from nas.audit.operator_bias import corrected, shares_of
from space.architecture import Architecture
from space.files import write_atomically
from supernet.accuracy import Score, evaluate
from supernet.calibration import calibrate
from supernet.network import Supernet
from supernet.racing import Race, shuffled


class Evaluator(Protocol):
    """Scores an architecture."""

    def __call__(self, architecture: Architecture) -> Score: ...


@dataclass(frozen=True)
class SupernetEvaluator:
    """Scores with a trained supernet's weights, on the same calibration and search images for every architecture."""

    supernet: Supernet
    calibration: Sequence[Tensor]
    images: Sequence[tuple[Tensor, Tensor]]

    def __call__(self, architecture: Architecture) -> Score:
        return evaluate(self.supernet, architecture, self.calibration, self.images).score

    def racing(self, keep: int) -> RacingEvaluator:
        """The same, but for candidates that are surely not among the best `keep`."""
        images = shuffled(self.images, seed=0)
        return RacingEvaluator(self.supernet, self.calibration, images, Race(keep, sum(len(labels) for _, labels in images)))

    def write_weights(self, architecture: Architecture, file: Path) -> None:
        """Write the weights that an architecture inherits, batch norm statistics included, as its network's state dict."""
        statistics = calibrate(self.supernet, architecture, self.calibration)
        write_atomically(file, save(self.supernet.export(architecture, statistics)))


@dataclass(frozen=True)
class UnbiasedEvaluator:
    """Scores as another does, with log-likelihoods less what an audit found them to be too high for some operators.

    Args:
        corrections: as `nas.audit.operator_bias.corrected` takes them.
    """

    evaluator: Evaluator
    corrections: Mapping[str, float]

    def __call__(self, architecture: Architecture) -> Score:
        score = self.evaluator(architecture)
        return replace(score, log_likelihood=corrected(score.log_likelihood, shares_of(architecture), self.corrections))


@dataclass(frozen=True)
class RacingEvaluator:
    """Scores as `SupernetEvaluator` does, and stops with whoever has lost; what that scores depends on whom it met.

    Args:
        images: in random order.
    """

    supernet: Supernet
    calibration: Sequence[Tensor]
    images: Sequence[tuple[Tensor, Tensor]]
    race: Race

    def __call__(self, architecture: Architecture) -> Score:
        return self.race.score(evaluate(self.supernet, architecture, self.calibration, self.images, self.race.is_lost))
