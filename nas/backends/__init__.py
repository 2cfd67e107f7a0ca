"""Backends: where a search's evaluations run.

A backend asks the study for proposals, has them evaluated, and tells the study; it alone talks to the study. It stops
when the study holds enough results, when the time is over, or when nothing is left to propose.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.evaluator import Evaluator
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
    """Resources of the Ray backend.

    Args:
        num_workers: evaluations at a time.
        address: of a running cluster; by default one is started on this machine.
        cpus: of each evaluation; by default its share of the cluster's.
    """

    num_workers: int = 1
    address: str | None = None
    cpus: int | None = None


OnResult = Callable[["Result"], None]
