"""`comparison/comparison.json`: test accuracies of networks that were retrained alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas.runs.records.json_file import read_record, write_record
from nas.runs.records.role import Role
from supernet.intervals import Accuracy, over_seeds

FOLDER, FILE = "comparison", "comparison.json"


@dataclass(frozen=True)
class ComparedNetwork:
    """A network of a comparison.

    Args:
        label: what tables call it.
        role: the compared search has one winner; a network that a user adds is a published one or `other`.
        accuracies: shares of the test images, one a seed.
        num_images: in the test part.
    """

    label: str
    fingerprint: str
    macs: int
    params: int
    role: Role
    accuracies: tuple[float, ...]
    num_images: int

    @property
    def test(self) -> Accuracy:
        """The mean over seeds."""
        test = over_seeds(self.accuracies, self.num_images)
        assert test is not None
        return test


@dataclass(frozen=True)
class ComparisonRecord:
    """A comparison.

    Args:
        networks: best first.
        epochs, batch_size: of every retraining.
    """

    networks: tuple[ComparedNetwork, ...]
    epochs: int
    batch_size: int

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
        seeds = len(self.networks[0].accuracies)
        return f"{seeds} {'seeds' if seeds > 1 else 'seed'} each, {self.epochs} epochs, {self.batch_size} images a step"


def write_comparison_record(folder: Path, record: ComparisonRecord) -> None:
    """Write the record into a comparison's directory."""
    write_record(folder / FILE, record)


def read_comparison(run: Path) -> ComparisonRecord | None:
    """The comparison in a run's directory; None where none was made. RunError where the file is damaged."""
    return read_record(run / FOLDER / FILE, ComparisonRecord, "the comparison of nas.compare")
