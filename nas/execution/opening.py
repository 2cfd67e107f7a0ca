"""From resources to workers."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, cast

from nas.execution.jobs import MakeDo, Workers
from nas.execution.resources import Resources


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
