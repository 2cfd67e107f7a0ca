"""A search from its config to its winner: train a supernet, evaluate proposals inside the budget, hold finals, write.

Whatever an earlier run of the same config finished is not done again, and what is still to come follows from config and data alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.execution.loop import Deadline
from nas.search.config import FREE, SearchConfig
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget, format_amount, parse_budget, without_latency
from space.files import load_space

if TYPE_CHECKING:
    from rich.console import Console

    from nas.search.found import Found
    from nas.train.supernet_run import SupernetRun
    from proxies.latency import LatencyTable


def run_search(config: SearchConfig, console: Console, data: Any = None) -> Found | None:
    """Train, search, hold finals, write; None where nothing was evaluated in time, or for a dry run.

    Args:
        data: a data set of the caller's; by default the config names it.
    """
    start = time.monotonic()
    budget = parse_budget(config.budget, config.floor)
    if config.supernet is None:
        # A budget out of reach ends here, before anything slow is imported or read.
        ArchitectureBand(load_space(config.space), without_latency(budget))

    supernet_run = _open_supernet_run(config, data)
    band = ArchitectureBand(supernet_run.space, without_latency(budget))
    resolved = config.values() | {"image_size": supernet_run.image_size, "storage": _shown_storage(config)}

    from nas.runs.directory import check_run, open_run
    from nas.study.objectives import objectives_of

    # What cannot be ends here, before the directory is that of such a search.
    objectives_of(config.objectives, budget)
    check_run(config.out, resolved, FREE)
    corrections = _corrections(config, supernet_run)
    _introduce(console, config, band, budget, supernet_run)
    if config.dry_run:
        from nas.cli.plan import print_plan
        from nas.search.plan import plan_search

        print_plan(console, plan_search(config, band, list(budget.targets.values()), supernet_run))
        return None

    from nas.cli.screen import Screen
    from nas.search.evaluation import evaluate, evaluator_of, open_search
    from nas.search.finish import finish
    from nas.search.found import Found, FoundArchitecture
    from nas.study.storage import open_storage, told
    from nas.train.supernet_run import begin_supernet, scope_of, train_supernet
    from proxies.published import parents_within

    begin = begin_supernet(config)
    with told(config.storage_url):
        # What cannot be reached or written ends here, before anything slow.
        open_storage(config.storage_url)
    minutes_end = None if config.minutes is None else start + 60 * config.minutes
    search_end = None if config.minutes is None else start + 60 * config.minutes * config.share_of_search
    with open_run(config.out, resolved, FREE), told(config.storage_url), Screen(console, _phases(config, budget)) as screen:
        tables: Mapping[str, LatencyTable] = {}
        if budget.targets:
            screen.reach("latency")
            band, tables = _within_latencies(console, band, budget, config)
        if config.judged_by == "supernet" and config.supernet is None:
            scope = scope_of(supernet_run.space, band if config.scope == "band" else None)
            train_supernet(screen, config, scope, supernet_run, begin, None if config.minutes is None else 30 * config.minutes)
        parents = parents_within(supernet_run.space, budget)
        study = open_search(config, supernet_run, band, budget, parents)
        evaluate(config, study, evaluator_of(config, supernet_run, corrections), Deadline(search_end), screen, parents)
        best, finals = finish(screen, config, study, budget, tables, supernet_run, parents, Deadline(minutes_end))
    if not best:
        return None
    judge = supernet_run if config.judged_by == "supernet" else None
    files = [config.out / f"{name}.yaml" for name in names_of_files(config, len(best))]
    written = tuple(FoundArchitecture.of(result, file, judge) for result, file in zip(best, files, strict=True))
    return Found(config.out, written, finals, study.study)
