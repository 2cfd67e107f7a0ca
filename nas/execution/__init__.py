"""Backends: where a search's evaluations run.

A backend asks the study for proposals, has them evaluated, and tells the study; it alone talks to the study. It stops
when the study holds enough results, when the time is over, or when nothing is left to propose.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.cli.command import CommandParser, whole_number

if TYPE_CHECKING:
    from nas.evaluators.supernet import Evaluator
    from nas.execution.pool import Each
    from nas.study.record import Result

BACKENDS = ("local", "ray")
OF_RAY = ("ray_address", "gpus_per_worker")
"""Options that say nothing where there is no Ray."""
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
        gpus: of each job on Ray, a share such as 0.25 or several; by default its share of the cluster's, one at most.
    """

    num_workers: int = 1
    address: str | None = None
    cpus: int = 1
    gpus: float | None = None


OnResult = Callable[["Result"], None]


def each_on(backend: str, workers: Workers) -> Each:
    """Where trainings run: in processes of this machine, or on a cluster."""
    if backend == "ray":
        from nas.execution.ray import on_ray

        return on_ray(workers)
    from nas.execution.pool import in_processes

    return in_processes(workers.num_workers)


def add_backend_arguments(parser: argparse._ActionsContainer, what: str) -> None:
    """Add the options that say where a command trains; `check_backend` then reads them.

    Args:
        what: is done so many at a time, such as `trainings`.
    """
    parser.add_argument("--workers", type=whole_number(1), default=os.cpu_count() or 1, help=f"{what} at a time (one a core)")
    parser.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0], help=f"where {what} run (%(default)s)")
    parser.add_argument("--cpus-per-worker", type=whole_number(1), default=1, metavar="N",
                        help="cores that each worker reserves, with --backend ray (%(default)s)")  # fmt: skip
    add_ray_arguments(parser)


def add_ray_arguments(parser: argparse._ActionsContainer) -> None:
    """Add the options that need `--backend ray`, those of `OF_RAY`."""
    parser.add_argument("--ray-address", metavar="HOST:PORT", help="of a running Ray cluster to join (one of its own on this machine)")
    share = "GPUs that each worker reserves, with --backend ray, such as 0.25 (its share of all, one at most)"
    parser.add_argument("--gpus-per-worker", type=_gpus, metavar="N", help=share)


def check_backend(parser: CommandParser, arguments: argparse.Namespace, of_ray: Collection[str] = OF_RAY) -> None:
    """End the command where an option is given that needs Ray, and no Ray is asked for."""
    idle = [name for name in of_ray if getattr(arguments, name) != parser.get_default(name)]
    if arguments.backend == "local" and idle:
        parser.error(f"--{idle[0].replace('_', '-')} needs --backend ray")


def _gpus(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (0 <= value <= 1 or (value > 1 and value.is_integer())):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a share of one GPU such as 0.25, or a whole number of them")
    return value
