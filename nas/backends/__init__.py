"""Backends: where a search's evaluations run.

A backend asks the study for proposals, has them evaluated, and tells the study; it alone talks to the study. It stops
when the study holds enough results, when the time is over, or when nothing is left to propose.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.command import CommandParser, whole_number

if TYPE_CHECKING:
    import argparse

    from nas.evaluator import Evaluator
    from nas.standalone import Each
    from nas.study import Result

BACKENDS = ("local", "ray")
MakeEvaluator = Callable[[], "Evaluator"]


@dataclass(frozen=True)
class Stop:
    """When a search ends.

    Args:
        num_results: when the study holds that many evaluated architectures.
        deadline: at this time (seconds of `time.monotonic`), if any; evaluations under way are finished.
    """

    num_results: int
    deadline: float | None = None

    def is_late(self) -> bool:
        """Whether the time is over."""
        return self.deadline is not None and time.monotonic() >= self.deadline


@dataclass(frozen=True)
class Workers:
    """Who evaluates or trains.

    Args:
        num_workers: jobs at a time.
        address: of a running Ray cluster; by default one is started on this machine.
        cpus: threads of each job.
    """

    num_workers: int = 1
    address: str | None = None
    cpus: int = 1


OnResult = Callable[["Result"], None]


def each_on(backend: str, workers: Workers) -> Each:
    """Where trainings run: in processes of this machine, or on a cluster."""
    if backend == "ray":
        from nas.backends.ray import on_ray

        return on_ray(workers)
    from nas.standalone import in_processes

    return in_processes(workers.num_workers)


def add_backend_arguments(parser: CommandParser, what: str) -> None:
    """Add `--workers`, `--backend` and `--ray-address` to a command that trains; `check_backend` then reads them.

    Args:
        what: is done so many at a time, such as `trainings`.
    """
    parser.add_argument("--workers", type=whole_number(1), default=os.cpu_count() or 1, help=f"{what} at a time (one a core)")
    parser.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0], help=f"where {what} run (%(default)s)")
    parser.add_argument("--ray-address", help="of a running Ray cluster to join (a cluster of its own on this machine)")


def check_backend(parser: CommandParser, arguments: argparse.Namespace) -> None:
    """End the command where an address is given and no Ray is asked for."""
    if arguments.backend == "local" and arguments.ray_address:
        parser.error("--ray-address needs --backend ray")
