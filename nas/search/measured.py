"""The best of a search, measured on the devices of its budget: predicted latencies alone decide about no winner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.study.record import Result
from proxies.cost import Budget, BudgetError, format_amount
from proxies.latency import BackendError, LatencyTable, Measured
from space.architecture import Architecture

MAX_LEFT_OUT = 20
"""So many of the best may turn out too slow; then prediction does not hold on this device."""


@dataclass(frozen=True)
class MeasuredResult:
    """A result, and its measured latencies by quantity; nothing is measured where the budget limits no latency.

    Args:
        failure: why a device cannot run its network; empty where all can.
    """

    result: Result
    measured: Mapping[str, Measured] = field(default_factory=dict)
    failure: str = ""

    def meets(self, budget: Budget) -> bool:
        """Whether every measured latency is within its limit."""
        return not self.failure and all(measured.nanoseconds <= budget.limits[quantity] for quantity, measured in self.measured.items())

    @property
    def why_left_out(self) -> str:
        """Why it does not meet the budget, in words."""
        return self.failure or "measured, it is slower than the budget allows"

    @property
    def provenance(self) -> dict[str, Any]:
        """What was measured, for the architecture's file."""
        if not self.measured:
            return {}
        by_target = {quantity.partition("@")[2]: measured for quantity, measured in self.measured.items()}
        return {
            "measured_ms": {target: measured.nanoseconds / 1e6 for target, measured in by_target.items()},
            "measured_spread": {target: round(measured.spread, 4) for target, measured in by_target.items()},
            "measured_slowness": {target: round(measured.slowness, 4) for target, measured in by_target.items()},
        }


def measure_best(
    ranked: Sequence[Result], budget: Budget, tables: Mapping[str, LatencyTable], keep: int, on_measured: Callable[[], None]
) -> tuple[list[MeasuredResult], list[MeasuredResult]]:
    """Measure the best until enough of them are as fast as the budget asks.

    Args:
        ranked: best first.
        tables: by latency, the table with whose reference clock it is measured.
        keep: how many are enough.
        on_measured: called after each measurement.

    Returns:
        Those that are fast enough, best first, and those that are too slow or cannot run on a device.

    Raises:
        BudgetError: none of the best meets the latencies.
    """
    taken: list[MeasuredResult] = []
    left_out: list[MeasuredResult] = []
    for result in ranked:
        if len(taken) == keep or len(left_out) == MAX_LEFT_OUT:
            break
        try:
            measured = MeasuredResult(result, measured_latencies(result.architecture, tables))
        except BackendError as error:
            measured = MeasuredResult(result, failure=str(error))
        on_measured()
        (taken if measured.meets(budget) else left_out).append(measured)
    if not taken and not any(one.measured for one in left_out):
        raise BudgetError(f"budget: got {left_out[0].failure}; expected one of the {len(left_out)} best to run there")
    if not taken:
        quantity, fastest = min(
            ((quantity, measured) for one in left_out for quantity, measured in one.measured.items()),
            key=lambda item: item[1].nanoseconds / budget.limits[item[0]],
        )
        raise BudgetError(
            f"budget: measured {format_amount(fastest.nanoseconds, quantity)} at the least among the {len(left_out)} best, "
            f"expected {format_amount(budget.limits[quantity], quantity)}; the device is slower than when its table was measured"
        )
    return taken, left_out


def measured_latencies(architecture: Architecture, tables: Mapping[str, LatencyTable]) -> dict[str, Measured]:
    """Measure an architecture's network on the tables' targets but for imported devices; BackendError where one cannot run it."""
    measured = {}
    for quantity, table in tables.items():
        if table.target.is_imported:
            continue
        (found,) = table.measure([architecture])
        if isinstance(found, BackendError):
            raise found
        measured[quantity] = found
    return measured
