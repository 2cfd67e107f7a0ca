"""Scoring with a trained supernet's weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from nas.runs.records.metadata import NetworkMetadata
from nas.train.supernet_run import SupernetRun
from space.architecture import Architecture
from space.files import write_atomically
from space.network import TokenMixerNet
from supernet.calibration import calibrate, inherited_network, inherited_weights
from supernet.evaluation import evaluate, judge
from supernet.network import Supernet
from supernet.racing import Race, shuffled
from supernet.score import PerImage, Score
from supernet.tasks.task import Task
from supernet.training.config import Precision, autocast, precision_of
from supernet.training.distributed import own_device


def load_evaluator(run: SupernetRun) -> SupernetEvaluator:
    """Load a run's trained weights, its calibration images and its search images, to evaluate in the device's own precision."""
    batches = run.calibration_batches(), run.search_batches()
    return SupernetEvaluator(run.load_supernet(), *batches, run.task, precision=precision_of(own_device()))


@dataclass(frozen=True)
class SupernetEvaluator:
    """Scores with a trained supernet's weights, on the same calibration and search images for every architecture.

    Args:
        race: stops evaluations of lost candidates early; then a score depends on the candidates before it.
        precision: of the scores; weights are written with statistics in fp32.
    """

    supernet: Supernet
    calibration: Sequence[Tensor]
    images: Sequence[tuple[Tensor, Tensor]]
    task: Task
    race: Race | None = None
    precision: Precision = "fp32"

    def __call__(self, architecture: Architecture) -> Score:
        judged = self.judged(architecture)
        return judged.score if self.race is None else self.race.score(judged)

    def judged(self, architecture: Architecture) -> PerImage:
        """An architecture's scores image by image."""
        is_lost = None if self.race is None else self.race.is_lost
        with autocast(own_device(), self.precision):
            return evaluate(self.supernet, architecture, self.calibration, self.images, self.task, is_lost)

    @torch.no_grad()
    def logits(self, architecture: Architecture, images_BCHW: Tensor) -> Tensor:
        """What an architecture says of images."""
        statistics = calibrate(self.supernet, architecture, self.calibration)
        with autocast(own_device(), self.precision):
            return self.supernet(images_BCHW, architecture, statistics).float()

    def judged_uncalibrated(self, architecture: Architecture) -> PerImage:
        """The same with the batch norm statistics of each batch itself."""
        with autocast(own_device(), self.precision):
            return judge(partial(self.supernet, architecture=architecture), self.images, self.task)

    def racing(self, keep: int) -> SupernetEvaluator:
        """An evaluator that stops early with candidates that are surely not among the best `keep`."""
        images = shuffled(self.images, seed=0)
        return replace(self, images=images, race=Race(keep, sum(len(targets) for _, targets in images)))

    def network(self, architecture: Architecture) -> TokenMixerNet:
        """An architecture's network on the CPU, in evaluation mode, with inherited weights."""
        return inherited_network(self.supernet, self.calibration, architecture)

    def write_weights(self, architecture: Architecture, file: Path, metadata: NetworkMetadata) -> None:
        """Write an architecture's inherited weights, batch norm statistics included, as its network's state dict."""
        write_atomically(file, save(inherited_weights(self.supernet, self.calibration, architecture), metadata.header))
