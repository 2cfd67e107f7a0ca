"""What a search depends on, as its command line resolves it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.options import REQUIRED, Derived, OptionError, option
from nas.runs.storage_url import checked, sqlite_url
from nas.train.config import HOW, WHAT, WHERE, SupernetConfig

if TYPE_CHECKING:
    from nas.execution import Workers

SAMPLERS = ("surrogate", "evolution", "tpe", "random")
OBJECTIVES = ("accuracy", "latency", "macs", "params")
OF_SUPERNET = ("race", "subtract_bias", "steps", "batch_size", "lr", "paths", "scope", "warm_start")
"""Options that say nothing where no supernet is trained."""
EVALUATORS = ("supernet", "standalone")
STANDALONE = "standalone"
"""Folder of a run's trainings alone."""
PARALLEL = 4
STANDALONE_STEPS = 100
"""Where an audit found short trainings to rank better than a supernet at twice its cost: experiments/results/ranking.md."""
FINALISTS = 8
FINALS_SHARE = 0.25
"""Of `--minutes`, what is kept for the finals; without, they take a third of the time before them at most."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig(SupernetConfig):
    """Everything that a search depends on."""

    budget: str = option(REQUIRED, "hard limit: 4.5GFLOPs, 25Mparams, 12ms@cpu, or several, quoted", group=WHAT)
    objectives: tuple[str, ...] = option(("accuracy",), "accuracy, and costs to trade it against", group=WHAT, choices=OBJECTIVES)
    floor: float = option(
        Derived(lambda config: 0.9 if len(config.objectives) == 1 else 0.0),
        "least share of the budget to use (0.9; with several objectives 0)", group=WHAT, at_least=0, below=1,
    )  # fmt: skip
    trials: int = option(120, "architectures to evaluate", group=HOW, at_least=1)
    sampler: str = option(SAMPLERS[0], "what proposes architectures", group=HOW, choices=SAMPLERS)
    race: bool = option(False, "stop evaluating what is surely not among the best that are kept", group=HOW)
    subtract_bias: bool = option(False, "correct scores by what nas.audit found of this run's supernet", group=HOW)
    evaluator: str = option(EVALUATORS[0], "what judges: shared weights, or a short training", group=HOW, choices=EVALUATORS)
    standalone_steps: int = option(STANDALONE_STEPS, "its steps, with --evaluator standalone", group=HOW, at_least=1)
    finalists: int | None = option(None, "how many of the best train alone at the end, 0 for none (8)", group=HOW, at_least=0)
    storage: str | None = option(None, "of the study: sqlite:///FILE, journal:FILE or postgresql://USER@HOST/DATABASE "
                                 "(SQLite in the run's directory)", group=WHERE, convert=checked)  # fmt: skip
    keep: int = option(5, "architectures to write, the best included", group=WHERE, at_least=1)
    backend: str = option("local", "where evaluations run", group=WHERE, choices=("local", "ray"))
    workers: int | None = option(None, "evaluations at a time (one a core; on a GPU one)", group=WHERE, at_least=1)
    parallel: int = option(PARALLEL, "evaluations that may be under way at once; decides what is proposed", group=WHERE, at_least=1)
    cpus_per_worker: int = option(1, "threads of an evaluation, on which its last digits depend", group=WHERE, at_least=1)
    ray_address: str | None = option(None, "of a running Ray cluster to join", group=WHERE, metavar="HOST:PORT")
    gpus_per_worker: float | None = option(None, "GPUs that each worker reserves, with --backend ray", group=WHERE, at_least=0)

    def check(self) -> None:
        super().check()
        for name in OF_SUPERNET:
            if self.evaluator != "supernet" and name in self.given:
                raise OptionError(name, "needs evaluator=supernet")
        if self.race and self.subtract_bias:
            raise OptionError("race", "excludes subtract_bias=True: a race compares images, a bias is that of whole scores")
        if self.evaluator == "supernet" and "standalone_steps" in self.given:
            raise OptionError("standalone_steps", "needs evaluator=standalone")
        if len(self.objectives) > 1 and self.finalists:
            raise OptionError("finalists", "needs one objective: a front has no winner")
        for name in ("ray_address", "gpus_per_worker"):
            if self.backend == "local" and name in self.given:
                raise OptionError(name, "needs backend=ray")
        if self.workers and self.workers > self.parallel:
            limit = f"no more than parallel={self.parallel}, which decides what is proposed"
            raise OptionError("workers", f"got {self.workers}, expected {limit}")

    @property
    def num_finalists(self) -> int:
        """How many of the best are to train alone; none where a front has no winner."""
        if len(self.objectives) > 1:
            return 0
        return FINALISTS if self.finalists is None else self.finalists

    @property
    def storage_url(self) -> str:
        """Where the study lives."""
        return self.storage or sqlite_url(self.out)

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
    from nas.runs.directory import RunError, config_of_run

    try:
        return SearchConfig.restored(config_of_run(run) | {"out": run.resolve()})
    except (KeyError, OptionError):
        raise RunError(f"{run}: got the directory of another command, expected that of a search") from None
