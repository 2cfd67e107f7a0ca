"""A search from its config to its winner: train a supernet, evaluate proposals inside the budget, train the best alone, write.

Nothing that an earlier run of the same config finished is done again. Config and data alone decide what is left to do.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.console import print_command
from nas.cli.data_option import print_data
from nas.execution.loop import Deadline
from nas.runs.directory import RunError, check_run, config_of_run, open_run
from nas.runs.records.audit import corrections_of
from nas.runs.storage_url import for_dashboard, without_password
from nas.search.config import SearchConfig
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget, parse_budget, rounded_amount, without_latency
from space.files import load_space
from space.narrowing import narrowed

if TYPE_CHECKING:
    from rich.console import Console

    from nas.search.found import Found
    from nas.train.supernet_run import SupernetRun
    from proxies.latency import LatencyTable


def run_search(config: SearchConfig, console: Console, data: Any = None) -> Found | None:
    """Train, search, train the best alone, write; None where nothing was evaluated in time, or for a dry run.

    Args:
        data: a data set of the caller's; by default the config names it.
    """
    start = time.monotonic()
    budget = parse_budget(config.budget, config.floor)
    if config.supernet is None:
        # A budget out of reach ends here, before anything slow is imported or read.
        ArchitectureBand(narrowed(load_space(config.space), config.narrowings), without_latency(budget))

    supernet_run = _open_supernet_run(config, data)
    band = ArchitectureBand(supernet_run.searched_space, without_latency(budget))
    resolved = _resolved(config, supernet_run)

    from nas.study.objectives import objectives_of
    from nas.train.training import check_warm_start, train_supernet
    from proxies.latency.backends import backend_of
    from proxies.target import INT8_BACKEND, parse_target

    # Mistakes end here, before the directory is taken.
    objectives_of(config.objectives, budget)
    if config.max_int8_drop is not None:
        backend_of(parse_target(INT8_BACKEND))
    if budget.targets:
        from nas.latency.tables import check_imported

        check_imported(band.space, budget, config.latency_tables, config.out)
    check_run(config.out, resolved, config.may_change())
    corrections = corrections_of(supernet_run.folder) if config.subtract_bias else None
    if config.judged_by == "supernet" and config.supernet is None:
        check_warm_start(config, supernet_run, console)
    source = None
    if config.learn_from:
        from nas.search.learning import learned_from

        source = learned_from(config, resolved, supernet_run, band)
    _introduce(console, config, band, budget, supernet_run)
    if source is not None:
        console.print(f"the sampler learns from {len(source.members)} architectures evaluated before\n", soft_wrap=True)
    if config.dry_run:
        from nas.cli.plan import print_plan
        from nas.search.plan import plan_search

        print_plan(console, plan_search(config, band, list(budget.targets.values()), supernet_run))
        return None

    from nas.cli.screen import Screen
    from nas.latency.tables import within_latencies
    from nas.report.wording import names_of_files
    from nas.runs.records.data import write_data
    from nas.search.evaluation import evaluate_proposals, evaluator_of, open_search
    from nas.search.finish import finish
    from nas.search.found import Found, FoundArchitecture
    from nas.study.storage import open_storage, storage_errors
    from proxies.published import parents_within

    if config.storage is not None:
        with storage_errors(config.storage_url):
            # A storage that cannot be reached or written ends the command here.
            open_storage(config.storage_url)
    minutes_end = None if config.minutes is None else start + 60 * config.minutes
    search_end = None if config.minutes is None else start + 60 * config.minutes * config.share_of_search
    with (
        open_run(config.out, resolved, config.may_change()), storage_errors(config.storage_url),
        Screen(console, _phases(config, budget)) as screen,
    ):
        write_data(config.out, supernet_run.images()[0])
        tables: Mapping[str, LatencyTable] = {}
        if budget.targets:
            screen.reach("latency")
            band, tables = within_latencies(console, band, budget, config.latency_tables, config.seed, config.out)
        if config.judged_by == "supernet" and config.supernet is None:
            seconds = None if config.minutes is None else 30 * config.minutes
            train_supernet(screen, config, supernet_run, band if config.scope == "band" else None, seconds)
        parents = parents_within(band.space, budget)
        study = open_search(config, supernet_run, band, budget, parents, source)
        evaluate_proposals(config, study, evaluator_of(config, supernet_run, corrections), Deadline(search_end), screen, parents)
        best, halving = finish(screen, config, study, budget, tables, supernet_run, parents, Deadline(minutes_end))
    if not best:
        return None
    judge = supernet_run if config.judged_by == "supernet" else None
    written = tuple(
        FoundArchitecture(one.number, one.architecture, one.cost, one.score, config.out / f"{name}.yaml", judge)
        for one, name in zip(best, names_of_files(study, len(best)), strict=True)
    )
    return Found(config.out, written, halving, study.study)


def _open_supernet_run(config: SearchConfig, data: Any) -> SupernetRun:
    """The supernet, with its data open: another run's, or this one's own."""
    if config.supernet is not None:
        return open_given_supernet(config, data)

    from nas.train.supernet_run import SupernetRun

    source = config.data if data is None else data
    space = load_space(config.space)
    return SupernetRun.on_data(config.out, space, source, config.image_size, config.seed, config.targets, config.narrowings)


def open_given_supernet(config: SearchConfig, data: Any) -> SupernetRun:
    """The trained supernet of another run, on its own data, or on other images of the same classes; RunError where there is none.

    Args:
        data: a data set of the caller's; by default the config names it.
    """
    from nas.train.supernet_run import open_supernet_run

    assert config.supernet is not None
    given = config.data if "data" in config.given else None
    run = open_supernet_run(config.supernet, given if data is None else data)
    if not run.weights_file.exists():
        raise RunError(f"supernet: got {config.supernet} without {run.weights_file.name}, expected the directory of a trained supernet")
    return replace(run, narrowings=config.narrowings)


def _resolved(config: SearchConfig, supernet_run: SupernetRun) -> dict[str, Any]:
    """The config as the run's directory keeps it, with the space and data of a given supernet."""
    storage = config.storage and without_password(config.storage)
    resolved = config.values() | {"data": supernet_run.data, "image_size": supernet_run.image_size, "storage": storage}
    if config.supernet is None:
        return resolved
    return resolved | {"supernet": supernet_run.folder, "space": config_of_run(supernet_run.folder)["space"]}


def _phases(config: SearchConfig, budget: Budget) -> list[str]:
    """The phases of a search, as its screen names them."""
    asked = {
        "count": True, "latency": bool(budget.targets), "supernet": config.judged_by == "supernet" and config.supernet is None,
        "search": True, "halving": bool(config.halving_candidates), "report": True,
    }  # fmt: skip
    return [phase for phase, is_asked in asked.items() if is_asked]


def _introduce(console: Console, config: SearchConfig, band: ArchitectureBand, budget: Budget, supernet_run: SupernetRun) -> None:
    smallest, largest = (rounded_amount(costs[band.budget.primary], band.budget.primary) for costs in band.reachable)
    images, splits = supernet_run.images()
    share = f"{config.floor:.0%} to 100% of {budget}"
    console.print(f"{band.space.name}: searching {share}, counted at {band.space.image_size} px", soft_wrap=True)
    console.print(f"{_number(band.count_bounds)} architectures lie inside; the space reaches from {smallest} to {largest}", soft_wrap=True)
    console.print(
        f"{images.source}: {len(splits.train)} training, {len(splits.search)} search and {len(splits.calibration)} calibration images "
        f"of {images.num_classes} classes at {supernet_run.image_size} px",
        soft_wrap=True,
    )
    print_data(console, images, splits)
    console.print(f"run directory: {config.out}", soft_wrap=True)
    dashboard = Path(sys.executable).parent / "optuna-dashboard"
    console.print("watch it:")
    print_command(console, (str(dashboard), for_dashboard(config.storage_url), "--artifact-dir", str(config.artifacts_folder)))
    console.print()


def _number(bounds: tuple[int, int]) -> str:
    """A count: exact up to a million, then rounded."""
    least, most = bounds
    about = "" if least == most else "about "
    return f"{about}{(least + most) // 2:,}" if most < 10**6 else f"{about}{(least + most) / 2:.3g}"
