"""What an audit depends on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AuditConfig:
    """What an audit depends on.

    Args:
        run: the directory of a search or of a supernet's training; tells space, data, image size and seed of the splits.
        bench: folder of the sample and its trainings; audits of several runs may share it.
        budget: its multiply-adds are those of the band; by default the run's.
        architectures, seeds, steps, batch_size, long, short: as in `nas.audit.sample.Plan`.
        sample_seed: of the draws.
        workers: trainings at a time.
        backend: where they run; `ray_address` is that of a running cluster to join, `cpus_per_worker` and `gpus_per_worker` are reserved.
        latency: the device on which the sample's networks are timed.
        publish: folder for a copy of the table of all scores, with a page about it.
        command: the arguments, as they were given.
        dry_run: say what would be done, and do none of it.
    """

    run: Path
    bench: Path
    budget: str | None
    architectures: int
    seeds: int
    steps: int
    batch_size: int
    long: float
    short: tuple[int, ...]
    sample_seed: int
    workers: int
    backend: str
    ray_address: str | None
    cpus_per_worker: int
    gpus_per_worker: float | None
    latency: str
    publish: Path | None
    command: tuple[str, ...]
    dry_run: bool

    @property
    def folder(self) -> Path:
        """Of the report; the run's own directory is another command's to write in."""
        return (self.run / "audit").resolve()
