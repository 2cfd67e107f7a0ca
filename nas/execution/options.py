"""The options that say who works and where, which several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nas.cli.options import Config, Group, OptionError, option
from nas.execution.resources import BACKENDS, Resources

WHERE = Group("where")


def _gpus(value: Any) -> float:
    try:
        gpus = float(value)
    except (TypeError, ValueError):
        gpus = -1.0
    if not (0 <= gpus <= 1 or (gpus > 1 and gpus.is_integer())):
        raise ValueError(f"got {value!r:.60}, expected a share of one GPU such as 0.25, or a whole number of them")
    return gpus


@dataclass(frozen=True, kw_only=True)
class WorkerOptions(Config):
    """Who does a command's jobs."""

    backend: str = option(BACKENDS[0], "where jobs run: in processes of this machine, or on a Ray cluster", group=WHERE, choices=BACKENDS)
    workers: int | None = option(None, "jobs at a time (one a core; where they compute on this machine's GPU, one)", group=WHERE, at_least=1)
    cpus_per_worker: int = option(1, "threads of each worker, on which its last digits depend", group=WHERE, at_least=1, metavar="N")
    ray_address: str | None = option(None, "of a running Ray cluster to join (one of its own on this machine)", group=WHERE,
                                     metavar="HOST:PORT")  # fmt: skip
    gpus_per_worker: float | None = option(None, "GPUs that each worker reserves, with backend=ray, such as 0.25 (its share of all, one "
                                           "at most)", group=WHERE, convert=_gpus, metavar="N")  # fmt: skip

    def check(self) -> None:
        super().check()
        if self.backend == "local":
            for name in ("ray_address", "gpus_per_worker"):
                if name in self.given:
                    raise OptionError(name, "needs backend=ray")

    def resources_for(self, num_workers: int) -> Resources:
        """So many workers, with what the options give each of them."""
        return Resources(num_workers, self.backend, self.cpus_per_worker, self.gpus_per_worker, self.ray_address)
