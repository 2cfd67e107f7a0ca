"""What a search gives back: values, and the way from an architecture to its network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.runs.records.halving import HalvingRecord
from proxies.cost import Cost
from space.architecture import Architecture

if TYPE_CHECKING:
    from nas.runs.records.metadata import NetworkMetadata
    from nas.study.record import Study
    from nas.train.supernet_run import SupernetRun
    from space.network import TokenMixerNet
    from supernet.score import Score


@dataclass(frozen=True)
class FoundArchitecture:
    """An architecture of a search.

    Args:
        number: of its trial.
        cost: multiply-adds and parameters, counted at the architecture's own image size.
        score: of the search, on its search images: it ranks, and is no test accuracy.
        file: its YAML.
        supernet_run: whose weights judged it; none where no supernet did.
    """

    number: int
    architecture: Architecture
    cost: Cost
    score: Score
    file: Path
    supernet_run: SupernetRun | None = None

    def network(self) -> TokenMixerNet:
        """Build its network, with the weights that it inherits from the supernet; at random where no supernet judged it."""
        from nas.evaluators.supernet import load_evaluator
        from space.network import build_network

        if self.supernet_run is None:
            return build_network(self.architecture)
        return load_evaluator(self.supernet_run).network(self.architecture)

    @property
    def provenance(self) -> dict[str, Any]:
        """Where it comes from, as its YAML says."""
        from space.files import load_provenance

        return load_provenance(self.file)

    @property
    def metadata(self) -> NetworkMetadata | None:
        """What is known of the weights of `network`; None where they are random."""
        from nas.runs.records.role import role_of

        return None if self.supernet_run is None else self.supernet_run.metadata_of(self.architecture, role_of(self.provenance))

    @property
    def weights_file(self) -> Path | None:
        """The inherited weights beside its YAML; none but the winner of a supernet's search has them on disk."""
        file = self.file.with_suffix(".safetensors")
        return file if file.exists() else None


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Args:
        folder: the run's directory.
        architectures: that were written, best first; with several objectives the front, most accurate first.
        halving: how the best trained alone; none where they did not.
        study: all trials, as Optuna knows them.
    """

    folder: Path
    architectures: tuple[FoundArchitecture, ...]
    halving: HalvingRecord | None
    study: Study

    @property
    def best(self) -> FoundArchitecture:
        """The winner."""
        return self.architectures[0]
