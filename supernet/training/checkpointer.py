"""When a training writes checkpoints, and what it returns to when it diverges.

When the last checkpoint was written depends on the clock. So a diverged training returns to another file, the rollback checkpoint,
which is written after fixed steps: what is trained depends on no clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from supernet.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from supernet.training.config import TrainingError
from supernet.training.distributed import is_first, wait_for_all
from supernet.training.state import NOT_WHOLE, TrainState

SECONDS_UNSAVED = 60.0
"""What a killed training loses at most, unless writing takes long."""
WRITING_SHARE = 0.05
"""Greatest share of a training's time that goes into writing checkpoints."""
ROLLBACK_STEPS = 200
"""Steps between two rollback checkpoints."""
MAX_SKIPPED_IN_A_ROW = 10
"""Steps without a finite loss or gradient after which a training counts as diverged."""
LOWER_LR = 0.1
"""Factor of the learning rate after a rollback."""


class Checkpointer:
    """The checkpoints of one training.

    Args:
        file: the last checkpoint; none where a training writes none.
        settings: what must be the same for a training to resume, in terms of JSON.
        on_save: called before the last checkpoint is written.
    """

    def __init__(self, file: Path | None, settings: Mapping[str, Any], on_save: Callable[[], None] | None) -> None:
        self._file = file
        self._settings = settings
        self._on_save = on_save
        self._written = time.perf_counter()
        self._wait = SECONDS_UNSAVED

    def resume(self, state: TrainState) -> None:
        """Load the last checkpoint where there is one; CheckpointError where it is damaged or of other settings."""
        if self._file is not None and self._file.exists():
            self._load(self._file, state)

    @property
    def is_due(self) -> bool:
        """Whether it is time to write the last checkpoint."""
        return time.perf_counter() - self._written >= self._wait

    def save(self, state: TrainState) -> None:
        """Write the last checkpoint."""
        if self._file is not None:
            start = time.perf_counter()
            if self._on_save is not None:
                self._on_save()
            self._write(self._file, state)
            self._written = time.perf_counter()
            self._wait = max(SECONDS_UNSAVED, (self._written - start) / WRITING_SHARE)

    def is_rollback_step(self, step: int) -> bool:
        """Whether a rollback checkpoint is written after this step; it must be known by then whether the training has diverged."""
        return self._file is not None and step % ROLLBACK_STEPS == 0

    def save_for_rollback(self, state: TrainState) -> None:
        """Write the rollback checkpoint after every `ROLLBACK_STEPS` steps."""
        if self._file is not None and self.is_rollback_step(state.counters.step):
            self._write(_rollback_file(self._file), state)

    def roll_back_if_diverged(self, state: TrainState, step: int) -> bool:
        """Return a diverged training to its rollback checkpoint, with a lower learning rate from there on.

        Args:
            step: up to which steps are known to have been skipped or not.

        Raises:
            TrainingError: the rate was lowered before, or there is no such checkpoint.
        """
        counters = state.counters
        if counters.skipped_in_a_row < MAX_SKIPPED_IN_A_ROW:
            return False
        diverged = f"step {step - 1}: got {MAX_SKIPPED_IN_A_ROW} steps in a row without a finite loss"
        if counters.lr_factor < 1:
            raise TrainingError(f"{diverged}, also at {counters.lr_factor:g} of the learning rate; lower it and start over")
        if self._file is None or step <= ROLLBACK_STEPS:
            raise TrainingError(f"{diverged}; lower the learning rate and start over")
        self._load(_rollback_file(self._file), state)
        changes = {"lr_factor": LOWER_LR, "skipped_in_a_row": 0, "skipped": counters.skipped, "seconds": counters.seconds}
        state.counters = state.counters.model_copy(update=changes)
        # A training that is interrupted now resumes at the lower rate.
        self._write(self._file, state)
        return True

    def _write(self, file: Path, state: TrainState) -> None:
        if is_first():
            tensors, facts = state.dump()
            save_checkpoint(file, tensors, {**facts, "settings": self._settings})
        wait_for_all()

    def _load(self, file: Path, state: TrainState) -> None:
        tensors, facts = load_checkpoint(file)
        saved = facts.get("settings")
        if not isinstance(saved, dict):
            raise CheckpointError(f"{file}: {NOT_WHOLE}")
        for key, value in self._settings.items():
            if saved.get(key) != value:
                got = f"got a checkpoint of {saved.get(key)!r}, expected {value!r}"
                raise CheckpointError(f"{file}: {key}: {got}; use another --out or delete it")
        try:
            state.load(tensors, facts)
        except CheckpointError as error:
            raise CheckpointError(f"{file}: {error}") from None


def remove_checkpoint(file: Path) -> None:
    """Remove a training's checkpoints."""
    for each in (file, _rollback_file(file)):
        each.unlink(missing_ok=True)


def _rollback_file(file: Path) -> Path:
    return file.with_stem(f"{file.stem}.rollback")
