"""Budgets in milliseconds: tables that predict latencies, and limits on predictions that keep measured latencies within the budget."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from rich.console import Console

from nas.cli.progress import Advance, phase
from nas.latency.run_tables import keep_tables, table_to_resume_with
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget
from proxies.latency import LatencyTable, open_table


def within_latencies(
    console: Console, band: ArchitectureBand, budget: Budget, folder: Path | None, seed: int, run: Path | None = None
) -> tuple[ArchitectureBand, Mapping[str, LatencyTable]]:
    """The architectures that a budget admits by predicted latencies, and the tables that predict them.

    Args:
        band: as for `open_tables`, like the other arguments.
    """
    tables = open_tables(console, band, budget, folder, seed, run)
    return limited(band, budget, tables), tables


def limited(band: ArchitectureBand, budget: Budget, tables: Mapping[str, LatencyTable]) -> ArchitectureBand:
    """The architectures that a budget admits by tables of latencies."""
    return ArchitectureBand(band.space, tightened(budget, tables), [table.cost for table in tables.values()])


def open_tables(
    console: Console, band: ArchitectureBand, budget: Budget, folder: Path | None, seed: int, run: Path | None = None
) -> dict[str, LatencyTable]:
    """A table for every device of a budget, by quantity: read where there is one for this machine and space, otherwise measured.

    Args:
        band: without limits on latency; the tables are fitted to networks drawn from it.
        folder: where tables are kept for all runs; by default the user's cache.
        run: the directory of this command's run, which keeps its tables and resumes with them.

    Raises LatencyError where the run was begun on another machine or with other software.
    """
    tables = {}
    for quantity, target in budget.targets.items():
        table = None if run is None else table_to_resume_with(run, band.space, target)
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
    """The budget with latency limits lowered by the tables' prediction errors."""
    limits = {
        quantity: tables[quantity].limit_for(limit) if quantity in tables else limit for quantity, limit in budget.limits.items()
    }
    return Budget(limits, budget.floor)
