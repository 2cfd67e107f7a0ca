"""What is compared with others, and under which conditions: the winner of a search, or an architecture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.cli.given_architecture import architecture_of, provenance_of
from nas.compare.comparison import Contender
from nas.compare.config import CompareConfig
from nas.latency.tables import limited, tables_of_run
from nas.runs.directory import RunError, config_of_run
from nas.runs.records.role import Role, role_of
from nas.train.supernet_run import SupernetRun, open_supernet_run
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget, parse_budget, without_latency
from proxies.macs import cost_of
from space.architecture import Architecture
from space.files import load_architecture
from supernet.data.images import ImageSet, open_images
from supernet.tasks.task import check_head

FOUND = "found"
"""What tables call the winner of the search that is compared."""


@dataclass(frozen=True)
class Subject:
    """What is compared with others, and under which conditions.

    Args:
        contender: its architecture is priced at its own image size, with the classes of the data.
        image_size: at which all train.
        band: from which random ones are drawn; none of an architecture alone.
        seed: of these draws.
        supernet_run: of the search, trained or not; none of an architecture alone.
    """

    contender: Contender
    images: ImageSet
    image_size: int
    budget: Budget
    band: ArchitectureBand | None = None
    seed: int = 0
    supernet_run: SupernetRun | None = None

    def alike(self, architecture: Architecture) -> Architecture:
        """Another architecture with the classes, the channels and the image size of this one; SpaceError where it cannot have them."""
        own = self.contender.architecture
        return architecture.replace(num_classes=own.num_classes, in_chans=own.in_chans, image_size=own.image_size)


def opened_subject(config: CompareConfig, data: Any) -> Subject:
    """What a config compares.

    Args:
        data: a data set of the caller's; by default the config names it.
    """
    return _of_architecture(config, data) if config.run is None else winner_of(config.run, data)


def winner_of(run: Path, data: Any) -> Subject:
    """The winner of a search; RunError where it has not ended."""
    searched = config_of_run(run)
    if not (run / "best.yaml").exists():
        raise RunError(f"{run}: has no best.yaml; expected the directory of a search that has ended")
    supernet_run = open_supernet_run(run, data)
    space, budget = supernet_run.searched_space, parse_budget(searched["budget"], searched["floor"])
    alike = {"image_size": space.image_size, "num_classes": space.num_classes, "in_chans": space.in_chans}
    best = load_architecture(run / "best.yaml").replace(**alike)
    band = limited(ArchitectureBand(space, without_latency(budget)), budget, tables_of_run(run, space, budget))
    winner = Contender(FOUND, best, Role.WINNER)
    return Subject(winner, supernet_run.images()[0], supernet_run.image_size, budget, band, searched["seed"], supernet_run)


def _of_architecture(config: CompareConfig, data: Any) -> Subject:
    assert config.data is not None
    images = open_images(config.data if data is None else data, config.targets)
    check_head("architecture", architecture_of(config.subject), images)
    architecture = architecture_of(config.subject).replace(num_classes=images.num_classes, in_chans=images.in_chans)
    provenance = provenance_of(config.subject)
    found_within = provenance.get("budget")
    budget = parse_budget(found_within, 0.0) if isinstance(found_within, str) else Budget({"macs": cost_of(architecture).macs}, 0.0)
    contender = Contender(architecture.name, architecture, role_of(provenance))
    return Subject(contender, images, config.image_size or images.default_image_size(), budget)
