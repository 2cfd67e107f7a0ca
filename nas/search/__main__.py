"""`python -m nas.search --budget 4.5GFLOPs`: train a supernet, search it inside the budget, export the winner."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.command import CommandParser, add_dry_run, exit_code_of, whole_number
from nas.execution import BACKENDS, OF_RAY, add_ray_arguments, check_backend
from nas.runs.storage_url import argument_of, for_dashboard, without_password
from nas.search.config import EVALUATORS, PARALLEL, SAMPLERS, STANDALONE_STEPS, SearchConfig
from nas.study.objectives import NAMES as OBJECTIVES
from nas.train.__main__ import DEFAULT_FLOOR, add_supernet_arguments, resolve, scope_of, train_supernet

if TYPE_CHECKING:
    from rich.console import Console

    from nas.train.supernet_run import SupernetRun
    from proxies.band.architecture_band import ArchitectureBand
    from proxies.cost import Budget
    from proxies.latency import LatencyTable

FREE = frozenset({"trials", "minutes", "backend", "workers", *OF_RAY, "keep", "latency_tables", "dry_run", "finalists"})
"""What may change when a run continues: none of it decides what a trial scores."""
OF_SUPERNET = ("race", "subtract_bias", "steps", "batch_size", "lr", "paths", "scope", "warm_start")
"""Options that say nothing where no supernet is trained."""


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
    what, how, where = add_supernet_arguments(parser, budget_is_required=True)
    what.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=["accuracy"], help="accuracy, and costs to trade it against")
    how.add_argument("--trials", type=whole_number(1), default=120, help="architectures to evaluate (%(default)s)")
    how.add_argument("--sampler", choices=SAMPLERS, default=SAMPLERS[0], help="what proposes architectures (%(default)s)")
    how.add_argument("--race", action="store_true", help="stop evaluating what is surely not among the best that are kept")
    how.add_argument("--subtract-bias", action="store_true", help="correct scores by what nas.audit found of this run's supernet")
    how.add_argument("--evaluator", choices=EVALUATORS, default=EVALUATORS[0], help="what judges: shared weights, or a short training")
    how.add_argument("--standalone-steps", type=whole_number(1), help=f"its steps, with --evaluator standalone ({STANDALONE_STEPS})")
    how.add_argument("--finalists", type=whole_number(0), help="how many of the best train alone at the end, 0 for none (8 if time allows)")
    where.add_argument("--storage", type=argument_of, help="of the study: sqlite:///FILE, journal:FILE or postgresql://USER@HOST/DATABASE "
                       "(a journal in the run's directory)")  # fmt: skip
    where.add_argument("--keep", type=whole_number(1), default=5, help="architectures to write, the best included (%(default)s)")
    where.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0], help="where evaluations run (%(default)s)")
    where.add_argument("--workers", type=whole_number(1), help="evaluations at a time (one a core; on a GPU one)")
    where.add_argument("--parallel", type=whole_number(1), default=PARALLEL,
                       help="evaluations that may be under way at once; decides what is proposed (%(default)s)")  # fmt: skip
    where.add_argument("--cpus-per-worker", type=whole_number(1), default=1,
                       help="threads of an evaluation, on which its last digits depend (%(default)s)")  # fmt: skip
    add_ray_arguments(where)
    add_dry_run(parser)
    arguments = parser.parse_args(argv)
    arguments.objectives = tuple(arguments.objectives)
    if arguments.floor is None:
        arguments.floor = DEFAULT_FLOOR if len(arguments.objectives) == 1 else 0.0
    idle = [name for name in OF_SUPERNET if getattr(arguments, name) != parser.get_default(name)]
    if arguments.evaluator != "supernet" and idle:
        parser.error(f"--{idle[0].replace('_', '-')} needs --evaluator supernet")
    if arguments.race and arguments.subtract_bias:
        parser.error("--race and --subtract-bias exclude each other: a race compares images, a bias is that of whole scores")
    if arguments.evaluator == "supernet" and arguments.standalone_steps is not None:
        parser.error("--standalone-steps needs --evaluator standalone")
    arguments.standalone_steps = arguments.standalone_steps or STANDALONE_STEPS
    if len(arguments.objectives) > 1 and arguments.finalists:
        parser.error("--finalists needs one objective: a front has no winner")
    check_backend(parser, arguments)
    if arguments.workers and arguments.workers > arguments.parallel:
        limit = f"no more than --parallel {arguments.parallel}, which decides what is proposed"
        parser.error(f"--workers: got {arguments.workers}, expected {limit}")
    resolve(arguments)
    return SearchConfig(**vars(arguments))


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
    from proxies.published import parents_within

    # A missing audit ends here, before the directory is that of such a search.
    corrections = corrections_of(config.out) if config.subtract_bias else None
    storage = config.storage and without_password(config.storage)
    resolved = asdict(config) | {"image_size": supernet_run.image_size, "storage": storage}
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
