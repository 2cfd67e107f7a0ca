"""The best of a search, measured on the devices of its budget: predicted latencies alone decide about no winner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.study.record import Result
from proxies.cost import Budget, BudgetError, format_amount
from proxies.latency import LatencyTable, Measured
from space.architecture import Architecture

MAX_TOO_SLOW = 20
"""So many of the best may turn out too slow; then prediction does not hold on this device."""


@dataclass(frozen=True)
class MeasuredResult:
    """A result, and its measured latencies by quantity; nothing is measured where the budget limits no latency."""

    result: Result
    measured: Mapping[str, Measured] = field(default_factory=dict)

    def meets(self, budget: Budget) -> bool:
        """Whether every measured latency is within its limit."""
        return all(measured.nanoseconds <= budget.limits[quantity] for quantity, measured in self.measured.items())

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
        Those that are fast enough, best first, and those that are too slow.

    Raises:
        BudgetError: none of the best meets the latencies.
    """
    taken: list[MeasuredResult] = []
    too_slow: list[MeasuredResult] = []
    for result in ranked:
        if len(taken) == keep or len(too_slow) == MAX_TOO_SLOW:
            break
        measured = MeasuredResult(result, measured_latencies(result.architecture, tables))
        on_measured()
        (taken if measured.meets(budget) else too_slow).append(measured)
    if not taken:
        quantity, fastest = min(
            ((quantity, measured) for one in too_slow for quantity, measured in one.measured.items()),
            key=lambda item: item[1].nanoseconds / budget.limits[item[0]],
        )
        raise BudgetError(
            f"budget: measured {format_amount(fastest.nanoseconds, quantity)} at the least among the {len(too_slow)} best, "
            f"expected {format_amount(budget.limits[quantity], quantity)}; the device is slower than when its table was measured"
        )
    return taken, too_slow


def measured_latencies(architecture: Architecture, tables: Mapping[str, LatencyTable]) -> dict[str, Measured]:
    """Measure an architecture's network on the tables' targets."""
    return {quantity: table.measure([architecture])[0] for quantity, table in tables.items()}
