"""The architectures that a search writes: its best, each measured on the devices of the budget before it is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.study.record import Result
from proxies.cost import Budget, BudgetError, format_amount
from proxies.latency import LatencyTable, Measured
from space.architecture import Architecture

MAX_MISSES = 20
"""So many of the best may turn out too slow; then prediction does not hold on this device."""


@dataclass(frozen=True)
class Finalist:
    """A result, and its latency as measured, by quantity; nothing is measured where the budget limits no latency."""

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


def choose_finalists(
    ranked: Sequence[Result], budget: Budget, tables: Mapping[str, LatencyTable], keep: int, on_measured: Callable[[], None]
) -> tuple[list[Finalist], list[Finalist]]:
    """Take the best, passing over those that are slower on a device than the budget allows.

    Args:
        ranked: best first.
        tables: by latency, that at whose pace it is measured.
        keep: how many to take.
        on_measured: called after each measurement.

    Returns:
        The finalists, best first, and those passed over.

    Raises:
        BudgetError: none of the best meets the latencies.
    """
    taken: list[Finalist] = []
    missed: list[Finalist] = []
    for result in ranked:
        if len(taken) == keep or len(missed) == MAX_MISSES:
            break
        finalist = Finalist(result, measured_latencies(result.architecture, tables))
        on_measured()
        (taken if finalist.meets(budget) else missed).append(finalist)
    if not taken:
        quantity, measured = min(
            ((quantity, measured) for one in missed for quantity, measured in one.measured.items()),
            key=lambda item: item[1].nanoseconds / budget.limits[item[0]],
        )
        raise BudgetError(
            f"budget: measured {format_amount(measured.nanoseconds, quantity)} at the least among the {len(missed)} best, "
            f"expected {format_amount(budget.limits[quantity], quantity)}; the device is slower than when its table was measured"
        )
    return taken, missed


def measured_latencies(architecture: Architecture, tables: Mapping[str, LatencyTable]) -> dict[str, Measured]:
    """Measure an architecture's network on the tables' targets."""
    return {quantity: table.measure([architecture])[0] for quantity, table in tables.items()}
