"""What every tracker of curves offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from space.errors import UserError
from space.files import write_atomically

PROJECT = "token-mixer-nas"
"""The project of Weights & Biases, and the experiment of MLflow, that runs are in."""


class TrackerError(UserError):
    """A tracker that cannot be reached, or refuses what it is told."""


@dataclass(frozen=True)
class Place:
    """Which curves these are.

    Args:
        run: a run's directory, which has its config.
        part: of the run, such as `search`; empty for its training.
    """

    run: Path
    part: str = ""

    @property
    def name(self) -> str:
        """What trackers call the curves: `mine`, `mine-search`."""
        name = self.run.resolve().name
        return f"{name}-{self.part}" if self.part else name

    def id_of(self, tracker: str, make: Callable[[], str]) -> str:
        """A tracker's id of the run, which the directory keeps: a moved one goes on with its curves, and one made anew begins others."""
        file = self.run / f"{'-'.join(filter(None, (tracker, self.part)))}.id"
        if not file.exists():
            write_atomically(file, make())
        return file.read_text()


class Tracker(Protocol):
    """Takes values of one run. TrackerError where that fails."""

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Add a value of a step; steps do not fall."""

    def flush(self) -> None:
        """Keep everything that was added, whatever happens to this process."""

    def close(self) -> None:
        """Flush, and let go of the run."""
