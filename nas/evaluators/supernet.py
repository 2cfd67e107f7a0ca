"""Scoring with a trained supernet's weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from nas.train.supernet_run import CALIBRATION_BATCH, EVALUATION_BATCH, SupernetRun
from space.architecture import Architecture
from space.files import write_atomically
from space.network import TokenMixerNet, build_network
from supernet.accuracy import Score, evaluate
from supernet.calibration import calibrate
from supernet.data.batches import evaluation_batches
from supernet.network import Supernet
from supernet.racing import Race, shuffled
from supernet.training.checkpoint import load_checkpoint


def load_evaluator(run: SupernetRun) -> SupernetEvaluator:
    """Load a run's trained weights, its calibration images and its search images."""
    from accelerate import PartialState

    device = PartialState().device
    supernet = Supernet(run.space, shared=load_checkpoint(run.weights_file)[0])
    images, splits = run.images()
    calibration = evaluation_batches(images, splits.calibration, run.image_size, CALIBRATION_BATCH)
    search = evaluation_batches(images, splits.search, run.image_size, EVALUATION_BATCH)
    return SupernetEvaluator(
        supernet.to(device).requires_grad_(False),
        [batch_BCHW.to(device) for batch_BCHW, _ in calibration],
        [(batch_BCHW.to(device), labels_B.to(device)) for batch_BCHW, labels_B in search],
    )


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

    def network(self, architecture: Architecture) -> TokenMixerNet:
        """A network of its own on the CPU, in evaluation mode, with the weights that the architecture inherits."""
        network = build_network(architecture)
        network.load_state_dict(self._inherited(architecture))
        return network.eval()

    def write_weights(self, architecture: Architecture, file: Path) -> None:
        """Write the weights that an architecture inherits, batch norm statistics included, as its network's state dict."""
        write_atomically(file, save(self._inherited(architecture)))

    def _inherited(self, architecture: Architecture) -> dict[str, Tensor]:
        statistics = calibrate(self.supernet, architecture, self.calibration)
        return self.supernet.export(architecture, statistics)


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
