"""A training's scalars for TensorBoard: loss, learning rate, images a second, skipped steps, and others.

A training that continues from a checkpoint repeats some steps whose scalars are written already. TensorBoard is told to drop those, and
scalars are flushed before a checkpoint is written. So every step appears once, however often a training is interrupted.
"""

from __future__ import annotations

import math
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from supernet.training.distributed import is_first
from supernet.training.step import StepReport

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
"""In a run's directory."""
POINTS = 1000
"""About so many steps of a training are written; TensorBoard shows no more."""
STEP_BYTES = 270.0
"""On the disk, a written step."""
LOSS, RATE, SPEED, SKIPPED, VALIDATION = "loss", "learning rate", "images per second", "skipped steps", "validation"


def num_bytes(steps: int) -> float:
    """Size on the disk of the scalars of a training of so many steps."""
    return STEP_BYTES * min(steps, POINTS)


class Scalars:
    """Writes the scalars of one training, in the first of its processes alone.

    `with Scalars(...) as scalars: train(..., on_step=scalars.follow, on_save=scalars.flush)`.

    Args:
        folder: where TensorBoard looks; nothing is written before the first step.
        steps: of the training, in all.
        batch_size: images a step.
    """

    def __init__(self, folder: Path, steps: int, batch_size: int) -> None:
        self._folder = folder
        self._every = max(1, steps // POINTS)
        self._batch_size = batch_size
        self._writer: SummaryWriter | None = None
        self._last = 0
        self._seconds: list[float] = []

    def __enter__(self) -> Scalars:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.close()

    def follow(self, report: StepReport) -> None:
        """Write the report of a step; called after every step."""
        step = report.step
        if self._writer is None or step <= self._last:
            # The first one, or the training has gone back to an earlier state.
            self._open(step)
        self._last = step
        self._seconds.append(report.seconds)
        if step % self._every:
            return
        if math.isfinite(report.loss):
            self.add(LOSS, report.loss, step)
        self.add(RATE, report.lr, step)
        self.add(SKIPPED, report.skipped, step)
        self.add(SPEED, self._batch_size * len(self._seconds) / sum(self._seconds), step)
        self._seconds.clear()

    def add(self, name: str, value: float, step: int) -> None:
        """Write a value of the step that was followed last."""
        if self._writer is not None:
            self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Write everything to the disk."""
        if self._writer is not None:
            self._writer.flush()

    def _open(self, step: int) -> None:
        """Begin a file with which TensorBoard drops this step and later ones from earlier files."""
        from torch.utils.tensorboard import SummaryWriter

        self._seconds.clear()
        if self._writer is not None:
            self._writer.close()
        if is_first():
            self._writer = SummaryWriter(str(self._folder), purge_step=step)
