"""`python -m nas.search --budget 4.5GFLOPs`: train a supernet, search it inside the budget, export the winner."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.command import CommandParser, exit_code_of
from nas.cli.command_line import add_options, read
from nas.execution import OF_RAY
from nas.runs.storage_url import for_dashboard, without_password
from nas.search.config import SearchConfig

if TYPE_CHECKING:
    from rich.console import Console

    from nas.train.supernet_run import SupernetRun
    from proxies.band.architecture_band import ArchitectureBand
    from proxies.cost import Budget
    from proxies.latency import LatencyTable

FREE = frozenset({"trials", "minutes", "backend", "workers", *OF_RAY, "keep", "latency_tables", "dry_run", "finalists"})
"""What may change when a run continues: none of it decides what a trial scores."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    config = _parse(argv)
    return exit_code_of(lambda: run(config), is_short=config.dry_run)


def _parse(argv: Sequence[str] | None) -> SearchConfig:
    parser = CommandParser(
        prog="python -m nas.search",
        description="Train a weight-sharing supernet, search it for the best architecture inside a budget, and write that as YAML.",
        epilog="Run the same command again to continue an interrupted search.",
    )
    add_options(parser, SearchConfig)
    return read(SearchConfig, parser, argv)


def run(config: SearchConfig) -> None:
    """Train, search, export; whatever an earlier run of the same config finished is not done again."""
    start = time.monotonic()
    from nas.study.objectives import objectives_of
    from proxies.band.architecture_band import ArchitectureBand
    from proxies.cost import parse_budget, without_latency
    from space.files import load_space

    space, budget = load_space(config.space), parse_budget(config.budget, config.floor)
    # Objectives that the budget has no limits for end here.
    objectives_of(config.objectives, budget)
    # A budget out of reach ends here, before anything slow is imported or read.
    band = ArchitectureBand(space, without_latency(budget))

    from nas.cli.console import open_console
    from nas.train.supernet_run import SupernetRun

    console = open_console()
    supernet_run = SupernetRun.on_data(config.out, space, config.data, config.image_size, config.seed)
    if supernet_run.space != space:
        space = supernet_run.space
        band = ArchitectureBand(space, without_latency(budget))
    if config.dry_run:
        from nas.cli.plan import print_plan
        from nas.search.plan import plan_search

        _introduce(console, config, band, budget, supernet_run)
        print_plan(console, plan_search(config, band, list(budget.targets.values()), supernet_run))
        return

    from nas.audit.report import corrections_of
    from nas.cli.screen import Screen
    from nas.execution import Stop
    from nas.latency.limits import within_latencies
    from nas.runs.directory import open_run
    from nas.search.finish import conclude
    from nas.search.loop import evaluate, evaluator_of, open_search
    from nas.study.storage import open_storage, told
    from nas.train.training import scope_of, train_supernet
    from proxies.published import parents_within

    # A missing audit ends here, before the directory is that of such a search.
    corrections = corrections_of(config.out) if config.subtract_bias else None
    storage = config.storage and without_password(config.storage)
    resolved = config.values() | {"image_size": supernet_run.image_size, "storage": storage}
    with open_run(config.out, resolved, FREE), told(config.storage_url), Screen(console, _phases(config, budget)) as screen:
        # What cannot be reached or written ends here, before anything slow.
        open_storage(config.storage_url)
        tables: Mapping[str, LatencyTable] = {}
        if budget.targets:
            screen.reach("latency")
            band, tables = within_latencies(console, band, budget, config.latency_tables, config.seed)
        _introduce(console, config, band, budget, supernet_run)
        seconds = None if config.minutes is None else 60 * config.minutes
        if config.evaluator == "supernet":
            scope = scope_of(space, band if config.scope == "band" else None)
            train_supernet(screen, config, scope, supernet_run, None if seconds is None else seconds / 2)
        parents = parents_within(space, budget)
        study = open_search(config, supernet_run, band, budget, parents)
        searching = None if seconds is None else start + seconds * config.share_of_search
        evaluate(config, study, evaluator_of(config, supernet_run, corrections), Stop(config.trials, searching), screen, parents)
        conclude(screen, config, study, budget, tables, supernet_run, parents, start)


def _phases(config: SearchConfig, budget: Budget) -> list[str]:
    """What a search goes through, as its screen names it."""
    asked = {
        "count": True, "latency": bool(budget.targets), "supernet": config.evaluator == "supernet", "search": True,
        "finals": bool(config.num_finalists), "report": True,
    }  # fmt: skip
    return [phase for phase, is_asked in asked.items() if is_asked]


def _introduce(console: Console, config: SearchConfig, band: ArchitectureBand, budget: Budget, supernet_run: SupernetRun) -> None:
    from proxies.cost import format_amount

    smallest, largest = (format_amount(amounts[band.budget.primary], band.budget.primary) for amounts in band.reachable)
    images, splits = supernet_run.images()
    share = f"{config.floor:.0%} to 100% of {budget}"
    console.print(f"{band.space.name}: searching {share}, counted at {band.space.image_size} px", soft_wrap=True)
    console.print(f"{_number(band.count_bounds)} architectures lie inside; the space reaches from {smallest} to {largest}", soft_wrap=True)
    console.print(
        f"{config.data}: {len(splits.train)} training, {len(splits.search)} search and {len(splits.calibration)} calibration images "
        f"of {images.num_classes} classes at {supernet_run.image_size} px",
        soft_wrap=True,
    )
    console.print(f"run directory: {config.out}", soft_wrap=True)
    dashboard = Path(sys.executable).parent / "optuna-dashboard"
    where = f"{for_dashboard(config.storage_url)} --artifact-dir {config.artifacts_folder}"
    console.print(f"watch it: {dashboard} {where}\n", soft_wrap=True)


def _number(bounds: tuple[int, int]) -> str:
    """A count as people read it: exact up to a million, then rounded."""
    least, most = bounds
    about = "" if least == most else "about "
    return f"{about}{(least + most) // 2:,}" if most < 10**6 else f"{about}{(least + most) / 2:.3g}"


if __name__ == "__main__":
    sys.exit(main())
