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

from nas.command import CommandParser, whole_number

if TYPE_CHECKING:
    from nas.evaluator import Evaluator
    from nas.standalone import Each
    from nas.study import Result

BACKENDS = ("local", "ray")
OF_RAY = ("ray_address", "cpus_per_worker", "gpus_per_worker")
"""Options that say nothing where there is no cluster."""
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
    """Resources of the Ray backend.

    Args:
        num_workers: evaluations at a time.
        address: of a running cluster; by default one is started on this machine.
        cpus: of each; by default its share of the cluster's.
        gpus: of each; a share such as 0.25 lets four use one. By default its share of the cluster's, one at most.
    """

    num_workers: int = 1
    address: str | None = None
    cpus: int | None = None
    gpus: float | None = None


OnResult = Callable[["Result"], None]


def each_on(backend: str, workers: Workers) -> Each:
    """Where trainings run: in processes of this machine, or on a cluster."""
    if backend == "ray":
        from nas.backends.ray import on_ray

        return on_ray(workers)
    from nas.standalone import in_processes

    return in_processes(workers.num_workers)


def add_backend_arguments(parser: argparse._ActionsContainer, what: str, workers: int | None = None) -> None:
    """Add the options that say where a command trains or evaluates; `check_backend` then reads them.

    Args:
        what: is done so many at a time, such as `trainings`.
        workers: at a time unless told otherwise; one a core by default.
    """
    default, share = workers or os.cpu_count() or 1, "(its share of the cluster's)"
    parser.add_argument("--workers", type=whole_number(1), default=default, help=f"{what} at a time ({workers or 'one a core'})")
    parser.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0], help=f"where {what} run (%(default)s)")
    parser.add_argument("--ray-address", help="of a running Ray cluster to join (a cluster of its own on this machine)")
    parser.add_argument("--cpus-per-worker", type=whole_number(1), metavar="N", help=f"processors of each worker {share}")
    parser.add_argument("--gpus-per-worker", type=_gpus, metavar="N", help=f"GPUs of each, 0.25 for a quarter {share}")


def check_backend(parser: CommandParser, arguments: argparse.Namespace, *, local_takes: Collection[str] = ()) -> None:
    """End the command where an option is given that needs Ray, and no Ray is asked for.

    Args:
        local_takes: options that the command's own local backend knows as well, such as `cpus_per_worker`.
    """
    idle = [name for name in OF_RAY if name not in local_takes and getattr(arguments, name) is not None]
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
