"""Scoring with a trained supernet's weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from nas.train.supernet_run import SupernetRun
from space.architecture import Architecture
from space.files import write_atomically
from space.network import TokenMixerNet
from supernet.accuracy import Score, evaluate
from supernet.calibration import inherited_network, inherited_weights
from supernet.network import Supernet
from supernet.racing import Race, shuffled


def load_evaluator(run: SupernetRun) -> SupernetEvaluator:
    """Load a run's trained weights, its calibration images and its search images."""
    return SupernetEvaluator(run.load_supernet(), run.calibration_batches(), run.search_batches())


@dataclass(frozen=True)
class SupernetEvaluator:
    """Scores with a trained supernet's weights, on the same calibration and search images for every architecture."""

    supernet: Supernet
    calibration: Sequence[Tensor]
    images: Sequence[tuple[Tensor, Tensor]]

    def __call__(self, architecture: Architecture) -> Score:
        return evaluate(self.supernet, architecture, self.calibration, self.images).score

    def racing(self, keep: int) -> RacingEvaluator:
        """An evaluator that stops early with candidates that are surely not among the best `keep`."""
        images = shuffled(self.images, seed=0)
        return RacingEvaluator(self.supernet, self.calibration, images, Race(keep, sum(len(labels) for _, labels in images)))

    def network(self, architecture: Architecture) -> TokenMixerNet:
        """An architecture's network on the CPU, in evaluation mode, with inherited weights."""
        return inherited_network(self.supernet, self.calibration, architecture)

    def write_weights(self, architecture: Architecture, file: Path) -> None:
        """Write an architecture's inherited weights, batch norm statistics included, as its network's state dict."""
        write_atomically(file, save(inherited_weights(self.supernet, self.calibration, architecture)))


@dataclass(frozen=True)
class RacingEvaluator:
    """Scores as `SupernetEvaluator` does, but stops early with a lost candidate; its score depends on the candidates before it.

    Args:
        images: in random order.
    """

    supernet: Supernet
    calibration: Sequence[Tensor]
    images: Sequence[tuple[Tensor, Tensor]]
    race: Race

    def __call__(self, architecture: Architecture) -> Score:
        return self.race.score(evaluate(self.supernet, architecture, self.calibration, self.images, self.race.is_lost))
