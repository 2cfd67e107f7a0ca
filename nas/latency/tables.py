"""Budgets in milliseconds: tables that predict latencies, and limits on predictions that keep measured latencies within the budget.

A run's directory holds its tables: they define a search's band for every process that works on the search.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from rich.console import Console

from nas.cli.progress import Advance, phase
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget
from proxies.latency import LatencyError, LatencyTable, open_table, read_table, write_table
from proxies.latency.fingerprint import fingerprint_of, subject_of
from proxies.target import Target
from space.search_space import SearchSpace

LATENCY_FOLDER = "latency"
"""In a run's directory."""


def within_latencies(
    console: Console, band: ArchitectureBand, budget: Budget, folder: Path | None, seed: int, run: Path | None = None
) -> tuple[ArchitectureBand, Mapping[str, LatencyTable]]:
    """The architectures that a budget admits by predicted latencies, and the tables that predict them, by quantity.

    A table is read where there is one for this machine and space, otherwise measured.

    Args:
        band: without limits on latency; the tables are fitted to networks drawn from it.
        folder: where tables are kept for all runs; by default the user's cache.
        run: the directory of this command's run, which keeps its tables and resumes with them.

    Raises LatencyError where the run was begun on another machine or with other software.
    """
    tables = {}
    for quantity, target in budget.targets.items():
        table = None if run is None else _table_to_resume_with(run, band.space, target)
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
    return limited(band, budget, tables), tables


def limited(band: ArchitectureBand, budget: Budget, tables: Mapping[str, LatencyTable]) -> ArchitectureBand:
    """The architectures whose latencies, as tables predict them, are in the budget even if the predictions err as they usually do."""
    limits = {
        quantity: tables[quantity].limit_for(limit) if quantity in tables else limit for quantity, limit in budget.limits.items()
    }
    return ArchitectureBand(band.space, Budget(limits, budget.floor), [table.cost for table in tables.values()])


def keep_tables(run: Path, tables: Mapping[str, LatencyTable]) -> None:
    """Write a search's tables, by quantity, into its run's directory, which this command owns."""
    folder = run / LATENCY_FOLDER
    folder.mkdir(exist_ok=True)
    for table in tables.values():
        write_table(table, _file(run, table.target))


def check_imported(space: SearchSpace, budget: Budget, folder: Path | None, run: Path) -> None:
    """LatencyError where a budget names a device whose latencies were not imported; nothing is measured.

    Args:
        folder, run: as of `within_latencies`.
    """
    for target in budget.targets.values():
        if target.is_imported and not _file(run, target).exists():
            open_table(space, target, folder)


def tables_of_run(run: Path, space: SearchSpace, budget: Budget) -> dict[str, LatencyTable]:
    """The tables of a search, for every latency of its budget, by quantity; none for a budget without latencies.

    They may have been measured on another machine: they are used for predictions only.

    Raises LatencyError where the run does not have them yet, or has those of another space.
    """
    tables = {}
    for quantity, target in budget.targets.items():
        file = _file(run, target)
        if not file.exists():
            expected = "expected the latencies that its search measures; run the search first"
            raise LatencyError(f"{run}: got no {LATENCY_FOLDER}/{file.name}, {expected}")
        tables[quantity] = read_table(space, target, file, subject_of(space, target))
    return tables


def _table_to_resume_with(run: Path, space: SearchSpace, target: Target) -> LatencyTable | None:
    """The table that a run was begun with, if any; LatencyError where it was measured on another machine."""
    file = _file(run, target)
    return read_table(space, target, file, fingerprint_of(space, target)) if file.exists() else None


def _file(run: Path, target: Target) -> Path:
    return run / LATENCY_FOLDER / f"{str(target).replace(':', '-')}.json"


def _percent(advance: Advance, done: int, total: int) -> None:
    advance(at=100 * done // total)
