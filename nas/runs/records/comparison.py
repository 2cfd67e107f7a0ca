"""`comparison/comparison.json`: test figures of networks that were retrained alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nas.runs.records.json_file import read_record, write_record
from nas.runs.records.role import Role
from supernet.intervals import Interval, in_points, over_seeds
from supernet.score import ACCURACY

FOLDER, FILE = "comparison", "comparison.json"


@dataclass(frozen=True)
class ComparedNetwork:
    """A network of a comparison.

    Args:
        label: what tables call it.
        role: each search has one winner; a network that a user adds is a published one or `other`.
        by_seed: the task's headline figure on the test images.
        num_images: in the test part.
        stderr: of the first seed's figure, over images; None where it is unknown.
        is_crippled: whether at least half of its mixers see one pixel at this image size.
    """

    label: str
    fingerprint: str
    macs: int
    params: int
    role: Role
    by_seed: tuple[float, ...]
    num_images: int
    stderr: float | None = None
    is_crippled: bool = False

    @property
    def test(self) -> Interval:
        """The mean over seeds."""
        test = over_seeds(self.by_seed, self.num_images, self.stderr)
        assert test is not None
        return test


@dataclass(frozen=True)
class LeadRecord:
    """By how much the winners of all searches lead over one network, or over several that are alike.

    Args:
        mean: figure of what is led, on the test images.
        value: by how much the mean of the winners is greater, a difference of shares.
        interval: of 95 %; None where neither seeds nor networks tell.
    """

    label: str
    mean: float
    value: float
    interval: tuple[float, float] | None = None

    @property
    def in_points(self) -> str:
        """The lead with its interval."""
        return in_points(self.value, self.interval)


@dataclass(frozen=True)
class ChecklistAnswer:
    """A point of a checklist of best practices.

    Args:
        answer: `yes`, `partly` or `no`.
        fact: behind the answer.
    """

    point: str
    answer: str
    fact: str


@dataclass(frozen=True)
class ComparisonRecord:
    """A comparison.

    Args:
        networks: best first.
        length: of every retraining, in words.
        batch_size: of every retraining.
        metric: what the headline figure is called.
        conclusions: what the figures say, a sentence each.
        leader: who has the leads, in words.
        leads: of the searches' winners, kind by kind; empty where no search was compared.
        seconds: by what they were spent on.
        checklist: empty where no search was compared.
    """

    networks: tuple[ComparedNetwork, ...]
    length: str
    batch_size: int
    metric: str = ACCURACY
    conclusions: tuple[str, ...] = ()
    leader: str = ""
    leads: tuple[LeadRecord, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    checklist: tuple[ChecklistAnswer, ...] = ()

    def of_role(self, role: Role) -> list[ComparedNetwork]:
        """The networks with a role, best first."""
        return [one for one in self.networks if one.role is role]

    @property
    def median_random(self) -> ComparedNetwork | None:
        """The median of those drawn at random; of an even number the lower one of the two."""
        drawn = self.of_role(Role.RANDOM)
        return drawn[len(drawn) // 2] if drawn else None

    @property
    def in_words(self) -> str:
        """How the networks were trained."""
        seeds = len(self.networks[0].by_seed)
        return f"{seeds} {'seeds' if seeds > 1 else 'seed'} each, {self.length}, {self.batch_size} images a step"


def training_folder(comparison: Path, fingerprint: str, seed: int) -> Path:
    """Where a comparison's directory keeps the training of an architecture with a seed."""
    return comparison / f"{fingerprint}-{seed}"


def write_comparison_record(folder: Path, record: ComparisonRecord) -> None:
    """Write the record into a comparison's directory."""
    write_record(folder / FILE, record)


def read_comparison(run: Path) -> ComparisonRecord | None:
    """The comparison in a run's directory; None where none was made. RunError where the file is damaged."""
    return read_record(run / FOLDER / FILE, ComparisonRecord, "the comparison of nas.compare")
