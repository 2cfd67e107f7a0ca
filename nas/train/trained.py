"""What training a supernet gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nas.train.supernet_run import CALIBRATION_BATCH, SupernetRun
from space.architecture import Architecture
from space.network import TokenMixerNet, build_network
from supernet.calibration import calibrate
from supernet.data.batches import evaluation_batches
from supernet.network import Supernet
from supernet.training.checkpoint import load_checkpoint


@dataclass(frozen=True)
class TrainedSupernet:
    """A supernet and where it lies.

    Args:
        run: its space, its data and its files.
        facts: steps, whether it ran to its end, seconds, precision and device, steps skipped, updates by operator.
    """

    run: SupernetRun
    facts: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """The run's directory."""
        return self.run.folder

    def network(self, architecture: Architecture) -> TokenMixerNet:
        """A member of the space as a network of its own, in evaluation mode, with weights inherited and batch norm statistics
        estimated from the run's calibration images."""
        images, splits = self.run.images()
        calibration = [batch for batch, _ in evaluation_batches(images, splits.calibration, self.run.image_size, CALIBRATION_BATCH)]
        network = build_network(architecture.replace(num_classes=self.run.space.num_classes, in_chans=self.run.space.in_chans))
        network.load_state_dict(self._supernet.export(network.architecture, calibrate(self._supernet, network.architecture, calibration)))
        return network.eval()

    @cached_property
    def _supernet(self) -> Supernet:
        return Supernet(self.run.space, shared=load_checkpoint(self.run.weights_file)[0]).requires_grad_(False)
