"""Starts workers on given resources."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, cast

from nas.execution.jobs import MakeJobFunction, Workers
from nas.execution.resources import Resources


def open_workers(make_function: MakeJobFunction, resources: Resources, folder: Path) -> AbstractContextManager[Workers]:
    """Workers for `with open_workers(...) as workers:`, which end with it. One local worker is this process itself.

    Args:
        make_function: makes what each worker does its jobs with; every worker must be able to read what it reads.
        folder: for Ray Tune's own files.
    """
    workers: Any
    if resources.backend == "ray":
        if resources.ray_address is None:
            # Ray reads it when it is imported. A cluster of our own then listens on the loopback interface only, as on other systems.
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        from nas.execution.ray import RayWorkers

        workers = RayWorkers(make_function, resources, folder)
    elif resources.num_workers == 1:
        from nas.execution.in_process import InProcess

        workers = InProcess(make_function, resources.cpus)
    else:
        from nas.execution.subprocesses import Subprocesses

        workers = Subprocesses(make_function, resources.num_workers, resources.cpus)
    return closing(cast(Any, workers))
