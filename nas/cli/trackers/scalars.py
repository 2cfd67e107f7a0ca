"""A training's scalars for a tracker: loss, learning rate, images a second, skipped steps, and others.

A training that continues from a checkpoint repeats some steps whose scalars are written already. TensorBoard is told to drop those, and
scalars are flushed before a checkpoint is written. So every step appears once, however often a training is interrupted. The other
trackers keep both values of a repeated step.
"""

from __future__ import annotations

import math
from pathlib import Path
from types import TracebackType

from nas.cli.trackers.by_name import TENSORBOARD, open_tracker
from nas.cli.trackers.tensorboard import FOLDER
from nas.cli.trackers.tracker import Place, Tracker
from supernet.training.distributed import is_first
from supernet.training.step import StepReport

POINTS = 1000
"""About so many steps of a training are written; TensorBoard shows no more."""
STEP_BYTES = 270.0
"""On the disk, a written step of TensorBoard's."""
LOSS, RATE, SPEED, SKIPPED, VALIDATION = "loss", "learning rate", "images per second", "skipped steps", "validation"


def expected_files(tracker: str, steps: int) -> dict[str, float]:
    """Bytes by file in a run's directory for a training of so many steps; only TensorBoard's are there."""
    return {f"{FOLDER}/": STEP_BYTES * min(steps, POINTS)} if tracker == TENSORBOARD else {}


class Scalars:
    """Writes the scalars of one training, in the first of its processes alone.

    `with Scalars(...) as scalars: train(..., on_step=scalars.follow, on_save=scalars.flush)`.

    Args:
        run: the directory of the training; nothing is written before the first step.
        steps: of the training, in all.
        batch_size: images a step.
        tracker: a name of `nas.cli.trackers.by_name`.
    """

    def __init__(self, run: Path, steps: int, batch_size: int, tracker: str = TENSORBOARD) -> None:
        self._place = Place(run)
        self._name = tracker
        self._every = max(1, steps // POINTS)
        self._batch_size = batch_size
        self._tracker: Tracker | None = None
        self._last = 0
        self._seconds: list[float] = []

    def __enter__(self) -> Scalars:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._tracker is not None:
            self._tracker.close()

    def follow(self, report: StepReport) -> None:
        """Write the report of a step; called after every step."""
        step = report.step
        if self._tracker is None or step <= self._last:
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
        if self._tracker is not None:
            self._tracker.add_scalar(name, value, step)

    def flush(self) -> None:
        """Keep everything that was added."""
        if self._tracker is not None:
            self._tracker.flush()

    def _open(self, step: int) -> None:
        """Go on with a step; the tracker forgets later ones, as far as it can."""
        self._seconds.clear()
        if self._tracker is not None:
            self._tracker.close()
        if is_first():
            self._tracker = open_tracker(self._name, self._place, step)
