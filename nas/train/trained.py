"""What training a supernet returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from nas.train.supernet_run import SupernetRun
from space.architecture import Architecture
from space.network import TokenMixerNet
from supernet.calibration import inherited_network
from supernet.network import Supernet


@dataclass(frozen=True)
class TrainedSupernet:
    """A trained supernet and where it is kept.

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
        """An architecture of the space as a network of its own, in evaluation mode, with inherited weights and with batch norm
        statistics of the run's calibration images."""
        classes = {"num_classes": self.run.space.num_classes, "in_chans": self.run.space.in_chans}
        return inherited_network(*self._loaded, architecture.replace(**classes))

    @cached_property
    def _loaded(self) -> tuple[Supernet, list[Tensor]]:
        return self.run.load_supernet(), self.run.calibration_batches()
