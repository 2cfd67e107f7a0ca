"""What a retraining gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.retrain.retraining import BEST, WEIGHTS, Accuracy
from space.architecture import Architecture
from space.network import TokenMixerNet, build_network
from space.weights import load_weights


@dataclass(frozen=True)
class Measured:
    """A share of correct answers.

    Args:
        interval95: of the share, by Wilson.
        images: how many were asked about.
    """

    accuracy: float
    interval95: tuple[float, float]
    images: int

    @classmethod
    def of(cls, found: Accuracy) -> Measured:
        """That of a results file."""
        low, high = found["interval95"]
        return cls(found["accuracy"], (low, high), found["images"])


@dataclass(frozen=True)
class Retrained:
    """A trained network and where it lies.

    Args:
        folder: the run's directory.
        architecture: with the classes of the data.
        facts: all of `result.json`: steps, whether it ran to its end, seconds, precision and device.
    """

    folder: Path
    architecture: Architecture
    facts: Mapping[str, Any]

    @property
    def test(self) -> Measured | None:
        """Of the test images; none where there are none."""
        return None if self.facts["test"] is None else Measured.of(self.facts["test"])

    @property
    def validation(self) -> Measured:
        """Of the images that the training was watched by."""
        return Measured.of(self.facts["validation"])

    @property
    def weights_file(self) -> Path:
        """The result: the averaged weights where the recipe averages, otherwise the last ones."""
        return self.folder / WEIGHTS

    @property
    def best_weights_file(self) -> Path | None:
        """Those of the epoch with the highest validation accuracy; none where no epoch has ended."""
        return self.folder / BEST if self.facts["best"] else None

    def network(self) -> TokenMixerNet:
        """The trained network, in evaluation mode."""
        network = build_network(self.architecture)
        load_weights(network, self.weights_file)
        return network.eval()
