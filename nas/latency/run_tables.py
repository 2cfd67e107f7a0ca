"""The latency tables in a run's directory: a search's band is what these predict, for everyone who works on the search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from proxies.cost import Budget
from proxies.latency import LatencyError, LatencyTable, read_table, write_table
from proxies.latency.fingerprint import fingerprint_of, subject_of
from proxies.target import Target
from space.search_space import SearchSpace

FOLDER = "latency"
"""Inside a run's directory."""


def keep_tables(run: Path, tables: Mapping[str, LatencyTable]) -> None:
    """Write the tables that a run is searched with, by quantity, into its directory, which is this command's own."""
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    for table in tables.values():
        write_table(table, _file(run, table.target))


def tables_of_run(run: Path, space: SearchSpace, budget: Budget) -> dict[str, LatencyTable]:
    """The tables that a run is searched with, for every latency of its budget, by quantity; none for a budget without.

    They may have been measured on another machine: they serve to predict.

    Raises LatencyError where the run has not got them (yet), or not those of this space.
    """
    tables = {}
    for quantity, target in budget.targets.items():
        file = _file(run, target)
        if not file.exists():
            raise LatencyError(f"{run}: got no {FOLDER}/{file.name}, expected the latencies that its search measures; run the search first")
        tables[quantity] = read_table(space, target, file, subject_of(space, target))
    return tables


def table_to_go_on_with(run: Path, space: SearchSpace, target: Target) -> LatencyTable | None:
    """The table that a run was begun with, if it was; LatencyError where this machine cannot measure with it, being another one."""
    file = _file(run, target)
    return read_table(space, target, file, fingerprint_of(space, target)) if file.exists() else None


def _file(run: Path, target: Target) -> Path:
    return run / FOLDER / f"{str(target).replace(':', '-')}.json"
