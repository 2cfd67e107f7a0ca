"""`halving.json`: what the candidates of a search's final successive halving scored when they trained alone, rung by rung."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from nas.runs.records.json_file import read_record, write_record
from supernet.score import Score

FILE = "halving.json"


@dataclass(frozen=True)
class CandidateRecord:
    """A network that took part.

    Args:
        label: what tables call it.
        fingerprint: of its architecture.
        competes: whether it may be the winner; a published network is there to compare with.
        rungs: its scores on the search images, by rung and seed; shorter where it was eliminated.
        failure: why its training was given up, if it was.
        test: its scores on the test images by seed, after the last rung; empty where it did not reach that, or there are no such images.
    """

    label: str
    fingerprint: str
    competes: bool
    rungs: tuple[tuple[Score, ...], ...]
    failure: str = ""
    test: tuple[Score, ...] = ()

    def log_likelihood(self, rung: int) -> float:
        """Its mean over seeds in a rung that it finished, counted from 0."""
        return mean(score.log_likelihood for score in self.rungs[rung])


@dataclass(frozen=True)
class HalvingRecord:
    """How successive halving went.

    Args:
        steps: of training, by rung.
        finished: number of rungs that all finished who were in them; fewer than there are steps where `--minutes` ended it.
        candidates: best first.
        tied: labels of those that cannot be told apart from the best, itself included.
    """

    steps: tuple[int, ...]
    finished: int
    candidates: tuple[CandidateRecord, ...]
    tied: tuple[str, ...]

    @property
    def num_images(self) -> int:
        """Search images that all were scored on."""
        return self.candidates[0].rungs[0][0].num_images

    @property
    def metric(self) -> str:
        """What the headline figure of the scores is called."""
        return self.candidates[0].rungs[0][0].metric

    @property
    def winner(self) -> CandidateRecord:
        """The best of those that compete."""
        return next(one for one in self.candidates if one.competes)


def write_halving(run: Path, record: HalvingRecord) -> None:
    """Write the record into a run's directory."""
    write_record(run / FILE, record)


def read_halving(run: Path) -> HalvingRecord | None:
    """The record of a run's directory; None where there is none. RunError where the file is damaged."""
    return read_record(run / FILE, HalvingRecord, "the successive halving of a search")
