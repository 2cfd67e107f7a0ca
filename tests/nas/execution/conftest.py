"""A Ray cluster of several nodes on this machine, one for all tests of a process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# Before anything else imports Ray, which reads our settings when it is imported.
import nas.execution.ray  # noqa: F401

# isort: split
from ray.cluster_utils import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A driver's node and three others, of one processor each; workers find what the tests define."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.getcwd())
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        for gpus in (0, 0, 1):
            cluster.add_node(num_cpus=1, num_gpus=gpus)
        yield cluster
        cluster.shutdown()
