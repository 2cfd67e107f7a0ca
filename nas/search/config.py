"""What a search depends on, as its command line resolves it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.runs.storage_url import journal_url
from nas.train.config import SupernetConfig

if TYPE_CHECKING:
    from nas.execution import Workers

SAMPLERS = ("surrogate", "evolution", "tpe", "random")
EVALUATORS = ("supernet", "standalone")
STANDALONE = "standalone"
"""Folder of a run's trainings alone."""
PARALLEL = 4
STANDALONE_STEPS = 100
"""Where an audit found short trainings to rank better than a supernet at twice its cost: experiments/results/ranking.md."""
FINALISTS = 8
FINALS_SHARE = 0.25
"""Of `--minutes`, what is kept for the finals; without, they take a third of the time before them at most."""


@dataclass(frozen=True)
class SearchConfig(SupernetConfig):
    """Everything that a search depends on. Training the supernet takes half of its minutes at most.

    Args:
        budget: as `proxies.cost.parse_budget` reads it, counted and measured at the space's image size.
        objectives: accuracy, and costs to trade it against.
        trials: architectures to evaluate in all.
        parallel: how many evaluations may be under way at once. What is proposed depends on it, and not on the number of workers.
        cpus_per_worker: threads of an evaluation, on which its last digits depend.
        gpus_per_worker: that Ray reserves for a worker; by default its share of all, one at most.
        workers: evaluations at a time; by default one a core, one on a GPU, and one for a race, whose scores depend on who met whom.
        race: whether evaluations of what is surely not among the best are stopped.
        subtract_bias: whether log-likelihoods are corrected by what the audit of the run's supernet found.
        evaluator: what judges an architecture: a supernet's weights, or a short training alone.
        standalone_steps: steps of such a training.
        storage: URL of the study; by default SQLite in the run's directory.
        keep: architectures to write, the winner included; with several objectives the whole front is written.
        finalists: how many of the best train alone at the end; by default 8, if it takes a third of the time before at most.
        dry_run: say what would be done, and do none of it.
    """

    budget: str
    objectives: tuple[str, ...]
    trials: int
    parallel: int
    cpus_per_worker: int
    sampler: str
    race: bool
    subtract_bias: bool
    evaluator: str
    standalone_steps: int
    backend: str
    workers: int | None
    ray_address: str | None
    gpus_per_worker: float | None
    storage: str | None
    keep: int
    finalists: int | None
    dry_run: bool

    @property
    def num_finalists(self) -> int:
        """How many of the best are to train alone; none where a front has no winner."""
        if len(self.objectives) > 1:
            return 0
        return FINALISTS if self.finalists is None else self.finalists

    @property
    def storage_url(self) -> str:
        """Where the study lives."""
        return self.storage or journal_url(self.out)

    @property
    def share_of_search(self) -> float:
        """Of `--minutes`, what training and search may take."""
        return 1 - FINALS_SHARE if self.num_finalists else 1.0

    @property
    def resources(self) -> Workers:
        """Who evaluates."""
        from nas.execution import Workers

        return Workers(self.workers or self._default_workers(), self.ray_address, self.cpus_per_worker, self.gpus_per_worker)

    def _default_workers(self) -> int:
        import torch

        if self.race or (self.backend == "local" and torch.cuda.is_available()):
            return 1
        return self.parallel if self.ray_address else min(self.parallel, max((os.cpu_count() or 1) // self.cpus_per_worker, 1))

    @property
    def study_name(self) -> str:
        """Of its study in the storage."""
        return self.out.name

    @property
    def artifacts_folder(self) -> Path:
        """Where what the dashboard shows of every trial lies."""
        return self.out / "artifacts"

    @property
    def standalone_folder(self) -> Path:
        """Where the run keeps its trainings alone."""
        return self.out / STANDALONE


def search_config_of(run: Path) -> SearchConfig:
    """The config of a search's directory, wherever that lies now; RunError where it is none of a search."""
    from pydantic import TypeAdapter, ValidationError

    from nas.runs.directory import RunError, config_of_run

    found = config_of_run(run) | {"out": run.resolve()}
    try:
        return TypeAdapter(SearchConfig).validate_python({name: found[name] for name in SearchConfig.__dataclass_fields__}, strict=False)
    except (KeyError, ValidationError):
        raise RunError(f"{run}: got the directory of another command, expected that of a search") from None
