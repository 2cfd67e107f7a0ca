"""What workers are given: how many there are, where, with how many cores and which share of a GPU."""

from __future__ import annotations

import os
from dataclasses import dataclass


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


def default_num_workers(backend: str, cpus: int = 1) -> int:
    """One worker for `cpus` cores; one alone where jobs compute on this machine's GPU."""
    import torch

    if backend == "local" and torch.cuda.is_available():
        return 1
    return max((os.cpu_count() or 1) // cpus, 1)
