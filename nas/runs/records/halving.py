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
        int8: scores of its last rung in floating point and in INT8, by seed; empty where they were not asked for.
    """

    label: str
    fingerprint: str
    competes: bool
    rungs: tuple[tuple[Score, ...], ...]
    failure: str = ""
    test: tuple[Score, ...] = ()
    int8: tuple[tuple[Score, Score], ...] = ()

    def log_likelihood(self, rung: int) -> float:
        """Its mean over seeds in a rung that it finished, counted from 0."""
        return mean(score.log_likelihood for score in self.rungs[rung])

    @property
    def int8_values(self) -> tuple[float, float] | None:
        """The headline figure in floating point and in INT8, means over seeds, in per cent; None where it was not measured."""
        if not self.int8:
            return None
        first, second = (100 * mean(pair[which].value for pair in self.int8) for which in (0, 1))
        return first, second

    @property
    def int8_drop(self) -> float:
        """What INT8 takes from the headline figure, in points; 0 where that was not measured."""
        return 0.0 if self.int8_values is None else self.int8_values[0] - self.int8_values[1]


@dataclass(frozen=True)
class HalvingRecord:
    """How successive halving went.

    Args:
        steps: of training, by rung.
        finished: number of rungs that all finished who were in them; fewer than there are steps where `--minutes` ended it.
        candidates: best first.
        tied: labels of those that cannot be told apart from the best, itself included.
        max_int8_drop: points of the headline figure that INT8 may take from a winner; None where INT8 does not count.
    """

    steps: tuple[int, ...]
    finished: int
    candidates: tuple[CandidateRecord, ...]
    tied: tuple[str, ...]
    max_int8_drop: float | None = None

    @property
    def num_images(self) -> int:
        """Search images that all were scored on."""
        return self.candidates[0].rungs[0][0].num_images

    @property
    def metric(self) -> str:
        """What the headline figure of the scores is called."""
        return self.candidates[0].rungs[0][0].metric

    def is_passed_over(self, one: CandidateRecord) -> bool:
        """Whether INT8 takes more from a candidate than it may."""
        return self.max_int8_drop is not None and one.int8_drop > self.max_int8_drop

    @property
    def eligible(self) -> tuple[CandidateRecord, ...]:
        """Those that may be the winner, best first."""
        return tuple(one for one in self.candidates if one.competes and not self.is_passed_over(one))

    @property
    def winner(self) -> CandidateRecord:
        """The best of these."""
        return self.eligible[0]


def write_halving(run: Path, record: HalvingRecord) -> None:
    """Write the record into a run's directory."""
    write_record(run / FILE, record)


def read_halving(run: Path) -> HalvingRecord | None:
    """The record of a run's directory; None where there is none. RunError where the file is damaged."""
    return read_record(run / FILE, HalvingRecord, "the successive halving of a search")
