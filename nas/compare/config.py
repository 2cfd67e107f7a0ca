"""What a comparison depends on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas.retrain.config import RecipeChoice


@dataclass(frozen=True, kw_only=True)
class CompareConfig(RecipeChoice):
    """Everything that a comparison depends on.

    Args:
        run: a search's directory; tells space, budget, data, image size and seed of the draws. None where an architecture is given.
        architecture: what is compared with others, where it is not a search's; the budget is the one it was found within, or what it costs.
        data, image_size: of such an architecture.
        others: further architectures, YAML files or published networks' names.
        test_data: by default the test part of the run's data.
        seeds: retrainings of each network.
        random: networks drawn at random from the budget's band.
        workers: retrainings at a time.
        backend: where they run; `ray_address` is that of a running cluster to join, `cpus_per_worker` and `gpus_per_worker` are reserved.
        latency_tables: folder for tables of measured latencies, for a budget with one; by default the user's cache.
        out: the comparison's directory.
        command: as it was given, from `nas.` on.
        dry_run: say what would be done, and do none of it.
    """

    run: Path | None
    architecture: Path | None
    data: str | None
    image_size: int | None
    others: tuple[str, ...]
    test_data: str | None
    seeds: int
    random: int
    workers: int
    backend: str
    ray_address: str | None
    cpus_per_worker: int
    gpus_per_worker: float | None
    latency_tables: Path | None
    out: Path
    command: tuple[str, ...]
    dry_run: bool
