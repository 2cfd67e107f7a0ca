"""The networks of a comparison that are members of the search's space, for benchmarks that rank them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas.runs.records.comparison import FOLDER, ComparedNetwork, ComparisonRecord, read_comparison, training_folder
from nas.runs.records.retraining import ARCHITECTURE
from nas.train.supernet_run import SupernetRun
from space.architecture import Architecture
from space.files import load_architecture


@dataclass(frozen=True)
class ComparedMember:
    """A member of the search's space that a comparison has trained.

    Args:
        record: what the comparison says of it.
        folder: of the comparison, which has a folder for each training.
    """

    record: ComparedNetwork
    architecture: Architecture
    folder: Path

    @property
    def test(self) -> float:
        """The mean test figure over seeds."""
        return sum(self.record.by_seed) / len(self.record.by_seed)

    def training(self, seed: int) -> Path:
        """The folder of its training with a seed."""
        return training_folder(self.folder, self.record.fingerprint, seed)


def compared_members(run: SupernetRun) -> tuple[ComparisonRecord, list[ComparedMember]]:
    """The comparison of a search, and those of its networks that are members of the search's space, best first."""
    compared = read_comparison(run.folder)
    if compared is None:
        raise SystemExit(f"{run.folder}: got no comparison, expected that of nas.compare")
    folder = run.folder / FOLDER
    found = [
        ComparedMember(network, load_architecture(training_folder(folder, network.fingerprint, 0) / ARCHITECTURE), folder)
        for network in compared.networks
    ]
    return compared, [one for one in found if run.space.contains(one.architecture)]
