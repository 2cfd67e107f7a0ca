"""Budgets in milliseconds: tables that predict a space's latencies, and limits on the prediction that keep the promise."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from rich.console import Console

from nas.cli.progress import Advance, phase
from nas.latency.run_tables import keep_tables, table_to_go_on_with
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget
from proxies.latency import LatencyTable, open_table


def within_latencies(
    console: Console, band: ArchitectureBand, budget: Budget, folder: Path | None, seed: int, run: Path | None = None
) -> tuple[ArchitectureBand, Mapping[str, LatencyTable]]:
    """The architectures that a budget admits, and tables of their latencies, which are limited by what these may err.

    Args:
        band: as for `open_tables`, which also knows the other arguments.
    """
    tables = open_tables(console, band, budget, folder, seed, run)
    return limited(band, budget, tables), tables


def limited(band: ArchitectureBand, budget: Budget, tables: Mapping[str, LatencyTable]) -> ArchitectureBand:
    """The architectures that a budget admits, by tables of their latencies."""
    return ArchitectureBand(band.space, tightened(budget, tables), [table.cost for table in tables.values()])


def open_tables(
    console: Console, band: ArchitectureBand, budget: Budget, folder: Path | None, seed: int, run: Path | None = None
) -> dict[str, LatencyTable]:
    """A table for every device of a budget, by quantity: read where there is one for this machine and space, else measured.

    Args:
        band: without limits on latency; the networks that tables are fitted to are drawn from it.
        folder: where tables are kept for all runs; by default the user's cache.
        run: the directory of the run that they are for, this command's own. What it was begun with it goes on with, and keeps.

    Raises LatencyError where the run was begun on another machine, or with another version of what computes.
    """
    tables = {}
    for quantity, target in budget.targets.items():
        table = None if run is None else table_to_go_on_with(run, band.space, target)
        if table is None:
            with phase(f"latency on {target}", 100, console) as advance:
                table = open_table(band.space, target, folder, band.draw, seed, partial(_percent, advance))
        tables[quantity] = table
        admitted = table.limit_for(budget.limits[quantity]) / 1e6
        error = table.errors.mean
        console.print(f"predictions err by {error:.1%} on average, so that up to {admitted:.4g} ms predicted are admitted", soft_wrap=True)
        for note in table.notes:
            console.print(note, soft_wrap=True)
    if run is not None:
        keep_tables(run, tables)
    return tables


def _percent(advance: Advance, done: int, total: int) -> None:
    advance(at=100 * done // total)


def tightened(budget: Budget, tables: Mapping[str, LatencyTable]) -> Budget:
    """The budget with its latency limits moved to where prediction still keeps them."""
    limits = {
        quantity: tables[quantity].limit_for(limit) if quantity in tables else limit for quantity, limit in budget.limits.items()
    }
    return Budget(limits, budget.floor)
