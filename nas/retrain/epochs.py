"""What a retraining does after each epoch: validate, write a row of `metrics.csv`, keep the best weights."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from nas.retrain.retrained import BEST
from space.files import write_atomically
from supernet.training.distributed import is_first
from supernet.training.step import StepReport

METRICS = ("epoch", "steps", "loss", "lr", "validation_accuracy")


class EpochLog:
    """Follows a training step by step.

    Args:
        out: the run's directory.
        validate: the validation accuracy of a state of the network.
        state_of: the state that counts after a step: averaged weights, or those of the network.

    Attributes:
        extra: what a checkpoint must hold, so that an interrupted training comes to the same metrics.
        validation: the last accuracy; none before the first epoch has ended.
    """

    def __init__(
        self,
        out: Path,
        steps_per_epoch: int,
        state_of: Callable[[StepReport], Mapping[str, Tensor]],
        validate: Callable[[Mapping[str, Tensor]], float],
    ) -> None:
        self.extra: dict[str, Any] = {"rows": [], "sum_of_losses": 0.0}
        self.validation: float | None = None
        self._out = out
        self._steps_per_epoch = steps_per_epoch
        self._state_of = state_of
        self._validate = validate

    def follow(self, report: StepReport) -> bool:
        """Note a step; whether it ended an epoch."""
        self.extra["sum_of_losses"] += report.loss
        epoch, rest = divmod(report.step, self._steps_per_epoch)
        if rest:
            return False
        state = self._state_of(report)
        self.validation = self._validate(state)
        loss = self.extra["sum_of_losses"] / self._steps_per_epoch
        self.extra["rows"].append((epoch, report.step, f"{loss:.6g}", f"{report.lr:.6g}", f"{self.validation:.6g}"))
        self.extra["sum_of_losses"] = 0.0
        self._write_metrics()
        best = best_epoch(self._out)
        if best is None or self.validation > best["validation_accuracy"]:
            # One entry: safetensors writes several in any order, and the same training shall write the same file.
            reached = json.dumps({"epoch": epoch, "validation_accuracy": self.validation})
            write_weights(self._out / BEST, state, {"reached": reached})
        return True

    def _write_metrics(self) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([METRICS, *self.extra["rows"]])
        write_from_first(self._out / "metrics.csv", text.getvalue())


def best_epoch(out: Path) -> dict[str, Any] | None:
    """The epoch of `best.safetensors` and its accuracy; none where no epoch has ended.

    They are in the file itself, so a training that resumes from before that epoch comes to the same file again.
    """
    try:
        with safe_open(out / BEST, "pt") as file:
            return json.loads(file.metadata()["reached"])
    except (FileNotFoundError, SafetensorError, TypeError, KeyError, ValueError):
        return None


def write_weights(file: Path, state: Mapping[str, Tensor], header: dict[str, str]) -> None:
    """Write a state dict, in the first process alone."""
    write_from_first(file, save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, header))


def write_from_first(file: Path, content: str | bytes) -> None:
    """Write a file, in the first process alone."""
    if is_first():
        write_atomically(file, content)
