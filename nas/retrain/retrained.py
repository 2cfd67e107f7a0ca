"""The files of a retraining, and what a retraining returns."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from nas.runs.directory import RunError
from nas.runs.records.metadata import MeasuredFigure, NetworkMetadata, read_metadata
from nas.runs.records.retraining import ARCHITECTURE, WEIGHTS
from space.architecture import Architecture
from space.files import load_provenance, write_atomically
from space.network import TokenMixerNet, build_network
from space.weights import load_weights
from supernet.training.distributed import is_first

BEST, RESULT, METRICS = "best.safetensors", "result.json", "metrics.csv"
"""The weights of the best epoch on the validation images; what was measured; a row an epoch."""


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
    def test(self) -> MeasuredFigure | None:
        """On the test images; none where there are none."""
        return _figure(self.facts["test"]) if self.facts["test"] else None

    @property
    def validation(self) -> MeasuredFigure:
        """On the validation images."""
        return _figure(self.facts["validation"])

    @property
    def weights_file(self) -> Path:
        """The trained weights: the averaged ones where the recipe averages, otherwise the last ones."""
        return self.folder / WEIGHTS

    @property
    def best_weights_file(self) -> Path | None:
        """Those of the best epoch on the validation images; none where no epoch has ended."""
        return self.folder / BEST if self.facts["best"] else None

    @property
    def metadata(self) -> NetworkMetadata | None:
        """What the trained weights say of themselves: image size, class names, figures."""
        return read_metadata(self.weights_file)

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the architecture comes from."""
        return load_provenance(self.folder / ARCHITECTURE)

    def network(self) -> TokenMixerNet:
        """The trained network, in evaluation mode."""
        network = build_network(self.architecture)
        load_weights(network, self.weights_file)
        return network.eval()


def _figure(fields: Mapping[str, Any]) -> MeasuredFigure:
    low, high = fields["interval95"]
    return MeasuredFigure(**{**fields, "interval95": (low, high)})


def write_metrics(folder: Path, metric: str, rows: Iterable[Iterable[object]]) -> None:
    """Write `metrics.csv`: epoch, steps, loss, learning rate and the task's metric on the validation images."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("epoch", "steps", "loss", "lr", f"validation_{metric}"), *rows])
    write_from_first(folder / METRICS, text.getvalue())


def steps_measured(folder: Path) -> int:
    """Steps of the last row of `metrics.csv`; 0 where no epoch has ended."""
    try:
        rows = list(csv.DictReader((folder / METRICS).read_text().splitlines()))
        return int(rows[-1]["steps"])
    except (FileNotFoundError, IndexError, KeyError, ValueError):
        return 0


def keep_best(folder: Path, validated: NetworkMetadata, state: Mapping[str, Tensor]) -> None:
    """Write `best.safetensors` where no earlier epoch was as good.

    Args:
        validated: metadata of these weights, with epoch and validation figure.
    """
    best, validation = best_epoch(folder), validated.validation
    assert validation is not None
    if best is None or validation.value > best["value"]:
        write_weights(folder / BEST, state, validated)


def best_epoch(folder: Path) -> dict[str, Any] | None:
    """The epoch of `best.safetensors`, its metric and the value of that; none where no epoch has ended.

    They are in the file itself, so a training that resumes from before that epoch comes to the same file again.
    """
    try:
        found = read_metadata(folder / BEST)
    except RunError:
        return None
    if found is None or found.epoch is None or found.validation is None:
        return None
    return {"epoch": found.epoch, "metric": found.validation.metric, "value": found.validation.value}


def write_weights(file: Path, state: Mapping[str, Tensor], metadata: NetworkMetadata) -> None:
    """Write a state dict and what must be known of it, in the first process alone."""
    write_from_first(file, save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, metadata.header))


def write_from_first(file: Path, content: str | bytes) -> None:
    """Write a file, in the first process alone."""
    if is_first():
        write_atomically(file, content)
