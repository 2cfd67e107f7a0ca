"""Evaluators that Ray's workers import: scores come from the fingerprint, and what shall happen to a worker happens to it."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import ray

from space.architecture import Architecture
from supernet.accuracy import Score


@dataclass(frozen=True)
class ByFingerprint:
    """Scores as good as random, and the same wherever they are made.

    Args:
        log: a line for every evaluation that is begun: the fingerprint, and the process.
        seconds: that an evaluation takes at most.
    """

    log: Path
    seconds: float = 0.0

    def __call__(self, architecture: Architecture) -> Score:
        with self.log.open("a") as file:
            file.write(f"{architecture.fingerprint} {os.getpid()}\n")
        share = int(architecture.fingerprint[:8], 16) / 2**32
        time.sleep(share * self.seconds)
        return Score(share, 0.0, -share, 0.0, 100)


@dataclass(frozen=True)
class Unlucky(ByFingerprint):
    """The first worker to evaluate one architecture is killed, the first to evaluate another waits for its node to be lost."""

    killed: str = ""
    lost: str = ""

    def __call__(self, architecture: Architecture) -> Score:
        score = super().__call__(architecture)
        if architecture.fingerprint == self.killed and not self._has_been("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        if architecture.fingerprint == self.lost and not self._has_been("lost"):
            self.node.write_text(ray.get_runtime_context().get_node_id())
            time.sleep(600)
        return score

    @property
    def node(self) -> Path:
        """Says which node waits to be lost."""
        return self.log.with_suffix(".node")

    def _has_been(self, what: str) -> bool:
        file = self.log.with_suffix(f".{what}")
        if file.exists():
            return True
        file.touch()
        return False


@dataclass(frozen=True)
class Raising(ByFingerprint):
    """Raises for one architecture."""

    fingerprint: str = ""

    def __call__(self, architecture: Architecture) -> Score:
        score = super().__call__(architecture)
        if architecture.fingerprint == self.fingerprint:
            raise ArithmeticError("not a number\nof any kind")
        return score
