"""Options about where a command's jobs run, which a config inherits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nas.cli.options import Config, Group, OptionError, option

if TYPE_CHECKING:
    from nas.execution.resources import Resources

BACKENDS = ("local", "ray")
WHERE = Group("where jobs run")


def _gpus(value: Any) -> float:
    try:
        share = float(value)
    except (ValueError, TypeError):
        share = -1.0
    if not (0 <= share <= 1 or (share > 1 and share.is_integer())):
        raise ValueError(f"got {value!r:.80}, expected a share of one GPU such as 0.25, or a whole number of them")
    return share


@dataclass(frozen=True, kw_only=True)
class BackendOptions(Config):
    """Where jobs run, and how many at a time. `of_ray` are the options without effect on other backends."""

    of_ray: ClassVar[tuple[str, ...]] = ("ray_address", "cpus_per_worker", "gpus_per_worker")

    workers: int | None = option(None, "jobs at a time (one a core; one where they compute on this machine's GPU)", group=WHERE, at_least=1,
                                 may_change=True)  # fmt: skip
    backend: str = option("local", "where jobs run", group=WHERE, choices=BACKENDS, may_change=True)
    cpus_per_worker: int = option(1, "cores that each worker reserves, with --backend ray", group=WHERE, at_least=1, metavar="N",
                                  may_change=True)  # fmt: skip
    ray_address: str | None = option(None, "of a running Ray cluster to join (one of its own on this machine)", group=WHERE,
                                     metavar="HOST:PORT", may_change=True)  # fmt: skip
    gpus_per_worker: float | None = option(
        None, "GPUs that each worker reserves, with --backend ray, such as 0.25 (its share of all, one at most)",
        group=WHERE, metavar="N", convert=_gpus, may_change=True,
    )  # fmt: skip

    def check(self) -> None:
        super().check()
        for name in self.of_ray:
            if self.backend == "local" and name in self.given:
                raise OptionError(name, "needs backend=ray")

    @property
    def resources(self) -> Resources:
        """The workers for the jobs."""
        from nas.execution.resources import Resources

        workers = self.workers or self.default_workers()
        return Resources(workers, self.backend, self.cpus_per_worker, self.gpus_per_worker, self.ray_address)

    def default_workers(self) -> int:
        """Jobs at a time by default."""
        from nas.execution.resources import default_num_workers

        return default_num_workers(self.backend, self.cpus_per_worker)
