"""Curves for Weights & Biases. With `WANDB_MODE=offline` it writes files, for `wandb sync`."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import wandb

from nas.cli.trackers.tracker import PROJECT, Place, TrackerError
from nas.runs.directory import config_of_run
from space.errors import one_line

STEP = "step"


class WandbRun:
    """One run, begun, or continued where this place has one; a step has one row of values."""

    def __init__(self, place: Place, step: int) -> None:
        number = place.id_of("wandb", lambda: uuid4().hex)
        settings = wandb.Settings(silent=True, console="off")
        try:
            self._run: Any = wandb.init(
                project=PROJECT, id=number, name=place.name, group=place.run.resolve().name, config=config_of_run(place.run),
                resume="allow", allow_val_change=True, settings=settings,
            )  # fmt: skip
        except wandb.errors.Error as error:
            raise TrackerError(f"log: wandb failed: {one_line(error)}") from None
        # Its own counter of steps never falls, but a training that continues goes back.
        self._run.define_metric("*", step_metric=STEP)
        self._row: dict[str, float] = {}

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """See `Tracker`."""
        if self._row.get(STEP, step) != step:
            self.flush()
        self._row |= {STEP: step, name: value}

    def flush(self) -> None:
        """Hand the values to the package's own process, which writes or sends them."""
        if self._row:
            self._run.log(self._row)
        self._row = {}

    def close(self) -> None:
        """See `Tracker`."""
        self.flush()
        self._run.finish()
