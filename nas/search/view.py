"""The live screen of a search: the best beside the best published network that fits, counts, log-likelihoods against trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nas.cli.plot import plot
from nas.report.cost_columns import cost_cells, macs_unit
from nas.report.score_columns import score_cells, score_headings
from nas.study.record import Result, StudySummary
from proxies.published import Parent
from supernet.score import ACCURACY
from supernet.tasks.task import task_of_head

TITLES = 2
"""Rows of the plot's title and of an empty one before it."""
LEAST_RESULTS = 4
"""That a plot shows: a few points are no curve."""
LEAST_ROWS, MOST_ROWS = 6, 18
"""Of a plot: fewer show nothing, more show no more."""


def search_view(summary: StudySummary, parents: Sequence[Parent], num_workers: int, width: int, height: int) -> RenderableType:
    """The state of a search.

    Args:
        parents: published networks within the budget, the most accurate as published first.
        width, height: columns and rows that there are.
    """
    best = summary.best
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("", no_wrap=True)
    metric = best.score.metric if best else task_of_head(parents[0].architecture).metric if parents else ACCURACY
    has_images = best is None or best.score.num_images > 0
    scores = score_headings(metric, has_images)
    mark = _mark(summary, parents)
    unit = macs_unit(best.cost.macs if best else mark[0].cost.macs if mark else 0)
    for heading in (*scores, unit.name, "Mparams"):
        table.add_column(heading, justify="right", no_wrap=True)
    if best is not None:
        table.add_row(f"best: trial {best.number}", *score_cells(best.score), *cost_cells(best.cost, unit), style="bold")
    if mark is not None:
        parent, result = mark
        score = score_cells(result.score) if result else ["–"] * len(scores)
        table.add_row(parent.architecture.name, *score, *cost_cells(parent.cost, unit))
    counts = Text(_counts(summary, num_workers))
    rows = height - 1 - table.row_count - math.ceil(len(counts) / width) - TITLES
    if rows < LEAST_ROWS or len(summary.results) < LEAST_RESULTS:
        return Group(table, counts)
    title = Text(f"{'log-likelihood' if has_images else 'score'} against trials; the line: the best so far", "dim")
    return Group(table, counts, Text(), title, _curve(summary, width, min(rows, MOST_ROWS)))


def _mark(summary: StudySummary, parents: Sequence[Parent]) -> tuple[Parent, Result | None] | None:
    """The published network of the best score in the search, else the one that was published with the best accuracy."""
    evaluated = {result.architecture.fingerprint: result for result in summary.results}
    scored = [(parent, evaluated[parent.architecture.fingerprint]) for parent in parents if parent.architecture.fingerprint in evaluated]
    if scored:
        return max(scored, key=lambda pair: pair[1].score.log_likelihood)
    return (parents[0], None) if parents else None


def _counts(summary: StudySummary, num_workers: int) -> str:
    workers = f"{num_workers} worker{'s' if num_workers != 1 else ''}"
    counts = [f"{len(summary.results)} evaluated", f"{summary.num_running} running", workers]
    counts += [f"{summary.num_duplicates} duplicates dropped"]
    counts += [f"{len(summary.failures)} failed"] if summary.failures else []
    counts += [f"{summary.num_interrupted} interrupted and repeated"] if summary.num_interrupted else []
    return ", ".join(counts)


def _curve(summary: StudySummary, width: int, rows: int) -> Text:
    values = [result.score.log_likelihood for result in summary.results]
    best_so_far = list(accumulate(values, max))
    return plot(list(enumerate(best_so_far, start=1)), list(enumerate(values, start=1)), width, rows)
