"""What workers are given: how many there are, where, with how many cores and which share of a GPU."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from nas.execution.jobs import MakeDo, Workers


@dataclass(frozen=True)
class Resources:
    """Who does the jobs.

    Args:
        num_workers: jobs at a time.
        backend: `local`, in processes of this machine, or `ray`.
        cpus: threads of each worker.
        gpus: that Ray reserves for each worker, a share such as 0.25 or several; by default its share of the cluster's, one at most.
        ray_address: of a running Ray cluster; by default one is started on this machine.
    """

    num_workers: int = 1
    backend: str = "local"
    cpus: int = 1
    gpus: float | None = None
    ray_address: str | None = None


def open_workers(make_do: MakeDo, resources: Resources, folder: Path) -> AbstractContextManager[Workers]:
    """Workers for `with open_workers(...) as workers:`; they end with it.

    One local worker is this process itself.

    Args:
        make_do: makes what each worker does its jobs with; what it reads must be within every worker's reach.
        folder: for Ray Tune's own files.
    """
    workers: Any
    if resources.backend == "ray":
        if resources.ray_address is None:
            # Read when Ray is imported: a cluster of our own then listens on this machine's loopback alone, as on systems other than Linux.
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        from nas.execution.ray import RayWorkers

        workers = RayWorkers(make_do, resources, folder)
    elif resources.num_workers == 1:
        from nas.execution.in_process import InProcess

        workers = InProcess(make_do, resources.cpus)
    else:
        from nas.execution.subprocesses import Subprocesses

        workers = Subprocesses(make_do, resources.num_workers, resources.cpus)
    return closing(cast(Any, workers))


def default_num_workers(backend: str, cpus: int = 1) -> int:
    """One worker for `cpus` cores; one alone where jobs compute on this machine's GPU."""
    import torch

    if backend == "local" and torch.cuda.is_available():
        return 1
    return max((os.cpu_count() or 1) // cpus, 1)
