"""Budgets in milliseconds: tables that predict a space's latencies, and limits on the prediction that keep the promise."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from rich.console import Console

from nas.cli.progress import Advance, phase
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget
from proxies.latency import LatencyTable, open_table


def within_latencies(
    console: Console, band: ArchitectureBand, budget: Budget, folder: Path | None, seed: int
) -> tuple[ArchitectureBand, Mapping[str, LatencyTable]]:
    """The architectures that a budget admits, and tables of their latencies, which are limited by what these may err.

    Args:
        band: as for `open_tables`, which also knows the other arguments.
    """
    tables = open_tables(console, band, budget, folder, seed)
    return ArchitectureBand(band.space, tightened(budget, tables), [table.cost for table in tables.values()]), tables


def open_tables(console: Console, band: ArchitectureBand, budget: Budget, folder: Path | None, seed: int) -> dict[str, LatencyTable]:
    """A table for every device of a budget, by quantity: read where there is one for this machine and space, else measured.

    Args:
        band: without limits on latency; the networks that tables are fitted to are drawn from it.
        folder: where tables are kept; by default the user's cache.
    """
    tables = {}
    for quantity, target in budget.targets.items():
        with phase(f"latency on {target}", 100, console) as advance:
            tables[quantity] = open_table(band.space, target, folder, band.draw, seed, partial(_percent, advance))
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
