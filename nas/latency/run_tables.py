"""The latency tables in a run's directory: they define a search's band for every process that works on the search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from proxies.cost import Budget
from proxies.latency import LatencyError, LatencyTable, read_table, write_table
from proxies.latency.fingerprint import fingerprint_of, subject_of
from proxies.target import Target
from space.search_space import SearchSpace

LATENCY_FOLDER = "latency"
"""In a run's directory."""


def keep_tables(run: Path, tables: Mapping[str, LatencyTable]) -> None:
    """Write a search's tables, by quantity, into its run's directory, which this command owns."""
    folder = run / LATENCY_FOLDER
    folder.mkdir(exist_ok=True)
    for table in tables.values():
        write_table(table, _file(run, table.target))


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


def table_to_resume_with(run: Path, space: SearchSpace, target: Target) -> LatencyTable | None:
    """The table that a run was begun with, if any; LatencyError where it was measured on another machine."""
    file = _file(run, target)
    return read_table(space, target, file, fingerprint_of(space, target)) if file.exists() else None


def _file(run: Path, target: Target) -> Path:
    return run / LATENCY_FOLDER / f"{str(target).replace(':', '-')}.json"
