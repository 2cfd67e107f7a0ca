"""The files of a finished retraining, and what a retraining returns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.retrain.accuracy import MeasuredAccuracy
from space.architecture import Architecture
from space.network import TokenMixerNet, build_network
from space.weights import load_weights

WEIGHTS, BEST, RESULT = "weights.safetensors", "best.safetensors", "result.json"
"""The trained weights; the weights of the epoch with the highest validation accuracy; what was measured."""


@dataclass(frozen=True)
class Retrained:
    """A trained network and where it is kept.

    Args:
        folder: the run's directory.
        architecture: with the classes of the data.
        facts: all of `result.json`: steps, whether it ran to its end, seconds, precision and device.
    """

    folder: Path
    architecture: Architecture
    facts: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path, architecture: Architecture) -> Retrained | None:
        """What an earlier run has left; none where the file is damaged, so that the training resumes or starts over."""
        try:
            facts = json.loads((folder / RESULT).read_text())
        except (FileNotFoundError, ValueError):
            return None
        return cls(folder, architecture, facts) if isinstance(facts, dict) and facts.keys() >= {"finished", "seconds"} else None

    @property
    def finished(self) -> bool:
        """False where a time limit ended the training."""
        return bool(self.facts["finished"])

    @property
    def test(self) -> MeasuredAccuracy | None:
        """On the test images; none where there are none."""
        return _accuracy(self.facts["test"]) if self.facts["test"] else None

    @property
    def validation(self) -> MeasuredAccuracy:
        """On the validation images."""
        return _accuracy(self.facts["validation"])

    @property
    def weights_file(self) -> Path:
        """The trained weights: the averaged ones where the recipe averages, otherwise the last ones."""
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


def _accuracy(fields: Mapping[str, Any]) -> MeasuredAccuracy:
    low, high = fields["interval95"]
    return MeasuredAccuracy(fields["accuracy"], (low, high), fields["images"])
