"""Evaluators of a caller's: scores come from the fingerprint, so they are as good as random, and the same wherever they are made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from space.architecture import Architecture


def share_of(architecture: Architecture) -> float:
    """A number from 0 to 1."""
    return int(architecture.fingerprint[:8], 16) / 2**32


@dataclass(frozen=True)
class Raising:
    """Scores but for one architecture, or but for all.

    Args:
        log: a line for every evaluation that is begun: the fingerprint, and the process.
        fingerprint: of the one for which it raises; by default it always does.
    """

    log: Path
    fingerprint: str = ""

    def __call__(self, architecture: Architecture) -> float:
        with self.log.open("a") as file:
            file.write(f"{architecture.fingerprint} {os.getpid()}\n")
        if architecture.fingerprint.startswith(self.fingerprint):
            raise ArithmeticError("not a number\nof any kind")
        return share_of(architecture)
