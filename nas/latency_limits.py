"""Budgets in milliseconds: tables that predict a space's latencies, and limits on the prediction that keep the promise."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from rich.console import Console

from nas.progress import Advance, phase
from proxies.architecture_band import ArchitectureBand
from proxies.cost import Budget, without_latency
from proxies.latency import LatencyTable, open_table
from space.search_space import SearchSpace


def open_band(
    console: Console, space: SearchSpace, budget: Budget, folder: Path | None, seed: int
) -> tuple[ArchitectureBand, dict[str, LatencyTable]]:
    """The architectures that a budget admits, and tables of their latencies, which are limited by what these may err.

    Args:
        folder: as for `open_tables`.
    """
    tables = open_tables(console, space, budget, folder, seed)
    return ArchitectureBand(space, tightened(budget, tables), [table.cost for table in tables.values()]), tables


def open_tables(console: Console, space: SearchSpace, budget: Budget, folder: Path | None, seed: int) -> dict[str, LatencyTable]:
    """A table for every device of a budget, by quantity: read where there is one for this machine and space, else measured.

    Args:
        folder: where tables are kept; by default the user's cache.
    """
    if not budget.targets:
        return {}
    draw = ArchitectureBand(space, without_latency(budget)).draw
    tables = {}
    for quantity, target in budget.targets.items():
        with phase(f"latency on {target}", 100, console) as advance:
            tables[quantity] = open_table(space, target, folder, draw, seed, partial(_percent, advance))
        admitted = tables[quantity].limit_for(budget.limits[quantity]) / 1e6
        error = tables[quantity].errors.mean
        console.print(f"predictions err by {error:.1%} on average, so that up to {admitted:.4g} ms predicted are admitted", soft_wrap=True)
        for note in tables[quantity].notes:
            console.print(note, soft_wrap=True)
    return tables


def _percent(advance: Advance, done: int, total: int) -> None:
    advance(at=100 * done // total)


def tightened(budget: Budget, tables: Mapping[str, LatencyTable]) -> Budget:
    """The budget with its latency limits moved to where prediction still keeps them."""
    limits = {
        quantity: tables[quantity].limit_for(limit) if quantity in tables else limit for quantity, limit in budget.limits.items()
    }
    return Budget(limits, budget.floor)
