"""What workers run on: how many there are, where, with how many cores and threads, and with which share of a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from nas.execution.jobs import WorkersError

GPU_PARTS = 10_000
"""Ray rounds shares of a GPU to one part in so many."""
Reserved = Mapping[str, float]
"""What a worker reserves of a Ray cluster: `cpu` and `gpu`."""


@dataclass(frozen=True)
class Resources:
    """What runs the jobs.

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
    """One worker for `cpus` cores; only one if jobs compute on this machine's GPU."""
    import torch

    if backend == "local" and torch.cuda.is_available():
        return 1
    return max((os.cpu_count() or 1) // cpus, 1)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Have PyTorch compute with so many threads. Their number decides the last digits of sums."""
    # Imported here, so that importing the interface does not load PyTorch.
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def reserved_by_worker(resources: Resources, nodes: Sequence[Mapping[str, float]]) -> Reserved:
    """What each worker reserves of a cluster, as Ray names it.

    Args:
        nodes: the resources of each, `CPU` and `GPU`.

    Raises:
        WorkersError: no node has as much; Ray would wait for one forever.
    """
    gpus = resources.gpus
    if gpus is None:
        gpus = _share_of_gpus(sum(node.get("GPU", 0) for node in nodes), resources.num_workers)
    most = max(node.get("GPU", 0) for node in nodes)
    if gpus > most:
        raise WorkersError(f"--gpus-per-worker: got {gpus:g}, expected no more than {most:g}, the most that a node has")
    most = max(node.get("CPU", 0) for node in nodes if node.get("GPU", 0) >= gpus)
    if resources.cpus > most:
        having = f"a node with {gpus:g} GPUs has" if gpus else "a node has"
        raise WorkersError(f"--cpus-per-worker: got {resources.cpus}, expected no more than {most:g}, the most that {having}")
    return {"cpu": resources.cpus, "gpu": gpus}


def _share_of_gpus(gpus: float, num_workers: int) -> float:
    """One GPU for each worker if there are enough, else the greatest share that all workers can have."""
    if not gpus:
        return 0
    workers_a_gpu = -(-num_workers // int(gpus))
    return GPU_PARTS // workers_a_gpu / GPU_PARTS
