"""Scoring with a trained supernet's weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    """Scores with a trained supernet's weights, on the same calibration and search images for every architecture.

    Args:
        race: stops evaluations of lost candidates early; then a score depends on the candidates before it.
    """

    supernet: Supernet
    calibration: Sequence[Tensor]
    images: Sequence[tuple[Tensor, Tensor]]
    race: Race | None = None

    def __call__(self, architecture: Architecture) -> Score:
        if self.race is None:
            return evaluate(self.supernet, architecture, self.calibration, self.images).score
        return self.race.score(evaluate(self.supernet, architecture, self.calibration, self.images, self.race.is_lost))

    def racing(self, keep: int) -> SupernetEvaluator:
        """An evaluator that stops early with candidates that are surely not among the best `keep`."""
        images = shuffled(self.images, seed=0)
        return replace(self, images=images, race=Race(keep, sum(len(labels) for _, labels in images)))

    def network(self, architecture: Architecture) -> TokenMixerNet:
        """An architecture's network on the CPU, in evaluation mode, with inherited weights."""
        return inherited_network(self.supernet, self.calibration, architecture)

    def write_weights(self, architecture: Architecture, file: Path) -> None:
        """Write an architecture's inherited weights, batch norm statistics included, as its network's state dict."""
        write_atomically(file, save(inherited_weights(self.supernet, self.calibration, architecture)))
