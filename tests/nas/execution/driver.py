"""A search as a program, so that tests can kill its process: `main([FOLDER, NAME, SECONDS, STORAGE, ADDRESS])`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Before anything else imports Ray, which reads our settings when it is imported.
import nas.execution.ray  # noqa: F401
from nas.cli.command import exit_code_of
from nas.search import search
from space.architecture import Architecture
from supernet.score import Score
from tests.nas.evaluators import share_of
from tests.nas.small_search import BUDGET

NUM_TRIALS = 60


@dataclass(frozen=True)
class ByFingerprint:
    """Scores an architecture by its fingerprint.

    Args:
        seconds: the longest time that an evaluation takes.
    """

    seconds: float

    def __call__(self, architecture: Architecture) -> Score:
        share = share_of(architecture)
        time.sleep(share * self.seconds)
        return Score(share, 0.0, -share, 0.0, 100)


def main(argv: Sequence[str]) -> int:
    """Start or continue a search; with an address, by three workers on that Ray cluster.

    Args:
        argv: a folder with a space and images, the name of the run's directory in it, the seconds that an evaluation takes at most, the
            study's storage or nothing for the run's own, and a cluster's address or nothing.
    """
    folder, (name, seconds, storage, address) = Path(argv[0]), argv[1:]
    where = {"backend": "ray", "workers": 3, "ray_address": address, "gpus_per_worker": 0} if address else {"workers": 1}
    judge = ByFingerprint(float(seconds))

    def run() -> None:
        search(
            BUDGET, space=str(folder / "tiny.yaml"), floor=0.5, data=folder / "images", evaluator=judge, sampler="evolution",
            trials=NUM_TRIALS, halving_candidates=3, halving_steps=8, storage=storage or None, out=folder / name, **where,
        )  # fmt: skip

    return exit_code_of(run)
