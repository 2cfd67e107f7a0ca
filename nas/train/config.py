"""What a supernet's training depends on, alone or as a part of a search."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SupernetConfig:
    """Everything that a supernet depends on but its budget.

    Args:
        space: name of a search space, or a YAML file.
        floor: least share of the budget's first limit to use.
        data: as `supernet.data.images.open_images` reads it; its training part alone is read.
        image_size: side in pixels at which the supernet is trained and judged; by default the data's own.
        out: the run's directory.
        minutes: when to end at the latest.
        steps, batch_size, lr: of the supernet's training.
        paths: what a step trains, a name in `supernet.paths.STRATEGIES`.
        scope: whether that lies anywhere in the space or in the budget's band.
        warm_start: published networks and their weights to begin with, `NAME=FILE` each.
        latency_tables: folder for tables of measured latencies; by default the user's cache.
    """

    space: str
    floor: float
    data: str
    image_size: int | None
    out: Path
    seed: int
    minutes: float | None
    steps: int
    batch_size: int
    lr: float
    paths: str
    scope: str
    warm_start: tuple[str, ...]
    latency_tables: Path | None


@dataclass(frozen=True)
class TrainingConfig(SupernetConfig):
    """What to train.

    Args:
        budget: as `proxies.cost.parse_budget` reads it; not needed for training anywhere in the space.
        dry_run: say what would be done, and do none of it.
    """

    budget: str | None
    dry_run: bool
