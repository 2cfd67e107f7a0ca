"""`finals.json`: what the best of a search scored when they trained alone, round by round."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

from pydantic import TypeAdapter

from nas.runs.records.reading import read_json
from space.files import write_atomically
from supernet.accuracy import Score

FILE = "finals.json"


@dataclass(frozen=True)
class Finalist:
    """A network that took part.

    Args:
        label: what tables call it.
        fingerprint: of its architecture.
        competes: whether it may be the winner; a published network is there to compare with.
        rounds: its scores on the search images, by round and seed; shorter where it was eliminated.
        failure: why its training was given up, if it was.
    """

    label: str
    fingerprint: str
    competes: bool
    rounds: tuple[tuple[Score, ...], ...]
    failure: str = ""

    def log_likelihood(self, number: int) -> float:
        """Its mean over seeds in a round that it finished, counted from 0."""
        return mean(score.log_likelihood for score in self.rounds[number])


@dataclass(frozen=True)
class FinalsRecord:
    """How the finals went.

    Args:
        steps: of training, by round.
        finished: rounds that all who were in it finished; fewer than there are steps where `--minutes` ended the finals.
        finalists: best first.
        tied: labels of those that cannot be told apart from the best, itself included.
    """

    steps: tuple[int, ...]
    finished: int
    finalists: tuple[Finalist, ...]
    tied: tuple[str, ...]

    @property
    def num_images(self) -> int:
        """Search images that all were scored on."""
        return self.finalists[0].rounds[0][0].num_images

    @property
    def winner(self) -> Finalist:
        """The best of those who compete."""
        return next(finalist for finalist in self.finalists if finalist.competes)


_RECORD = TypeAdapter(FinalsRecord)


def write_finals(run: Path, record: FinalsRecord) -> None:
    """Write the record of a run's directory."""
    write_atomically(run / FILE, json.dumps(asdict(record), indent=1) + "\n")


def read_finals(run: Path) -> FinalsRecord | None:
    """The record of a run's directory; None where no finals were held. RunError where the file is damaged."""
    file = run / FILE
    return read_json(file, _RECORD, "the finals of a search") if file.is_file() else None
