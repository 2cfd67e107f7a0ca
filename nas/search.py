"""`python -m nas.search --budget 4.5GFLOPs`: train a supernet, search it inside the budget, export the winner."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nas.backends import BACKENDS
from nas.command import CommandParser, exit_code_of, whole_number
from nas.objectives import NAMES as OBJECTIVES
from nas.train import DEFAULT_FLOOR, SupernetConfig, add_supernet_arguments, resolve, scope_of, train_supernet

if TYPE_CHECKING:
    from rich.console import Console

    from nas.backends import MakeEvaluator, Stop
    from nas.evaluator import Evaluator
    from nas.finalists import Finalist
    from nas.finals import Finals
    from nas.parents import Parent
    from nas.study import ArchitectureStudy, Result
    from nas.supernet_run import SupernetRun
    from proxies.architecture_band import ArchitectureBand
    from proxies.cost import Budget
    from proxies.latency import LatencyTable

SAMPLERS = ("surrogate", "evolution", "tpe", "random")
EVALUATORS = ("supernet", "standalone")
FREE = frozenset({"trials", "minutes", "backend", "workers", "ray_address", "keep", "latency_tables", "dry_run", "finalists"})
"""What may change when a run continues: none of it decides what a trial scores."""
OF_SUPERNET = ("race", "steps", "batch_size", "lr", "paths", "scope", "warm_start")
"""Options that say nothing where no supernet is trained."""
FILE_WIDTH = 120
STANDALONE = "standalone"
"""Folder of a run's trainings alone."""
STANDALONE_STEPS = 50
FINALISTS = 8
FINALS_SHARE = 0.25
"""Of `--minutes`, what is kept for the finals; without, they take a third of the time before them at most."""


@dataclass(frozen=True)
class SearchConfig(SupernetConfig):
    """Everything that a search depends on. Training the supernet takes half of its minutes at most.

    Args:
        budget: as `proxies.cost.parse_budget` reads it, counted and measured at the space's image size.
        objectives: accuracy, and costs to trade it against.
        trials: architectures to evaluate in all.
        race: whether evaluations of what is surely not among the best are stopped.
        evaluator: what judges an architecture: a supernet's weights, or a short training alone.
        standalone_steps: steps of such a training.
        storage: URL of the study; by default SQLite in the run's directory.
        keep: architectures to write, the winner included; with several objectives the whole front is written.
        finalists: how many of the best train alone at the end; by default 8, if it takes a third of the time before at most.
        dry_run: say what would be done, and do none of it.
    """

    budget: str
    objectives: tuple[str, ...]
    trials: int
    sampler: str
    race: bool
    evaluator: str
    standalone_steps: int
    backend: str
    workers: int
    ray_address: str | None
    storage: str | None
    keep: int
    finalists: int | None
    dry_run: bool

    @property
    def num_finalists(self) -> int:
        """How many of the best are to train alone; none where a front has no winner."""
        if len(self.objectives) > 1:
            return 0
        return FINALISTS if self.finalists is None else self.finalists

    @property
    def storage_url(self) -> str:
        """Where the study lives."""
        from nas.run_directory import sqlite_url

        return self.storage or sqlite_url(self.out)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    config = _parse(argv)
    return exit_code_of(lambda: run(config))


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
    how.add_argument("--evaluator", choices=EVALUATORS, default=EVALUATORS[0], help="what judges: shared weights, or a short training")
    how.add_argument("--standalone-steps", type=whole_number(1), help="steps of such a training, with --evaluator standalone (50)")
    how.add_argument("--finalists", type=whole_number(0), help="how many of the best train alone at the end, 0 for none (8 if time allows)")
    where.add_argument("--storage", help="Optuna storage URL (SQLite in the run's directory)")
    where.add_argument("--keep", type=whole_number(1), default=5, help="architectures to write, the best included (%(default)s)")
    where.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0], help="where evaluations run (%(default)s)")
    where.add_argument("--workers", type=whole_number(1), default=1, help="evaluations at a time, with --backend ray (%(default)s)")
    where.add_argument("--ray-address", help="of a running Ray cluster to join (a cluster of its own on this machine)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, how long it would take, and write nothing")
    arguments = parser.parse_args(argv)
    arguments.objectives = tuple(arguments.objectives)
    if arguments.floor is None:
        arguments.floor = DEFAULT_FLOOR if len(arguments.objectives) == 1 else 0.0
    idle = [name for name in OF_SUPERNET if getattr(arguments, name) != parser.get_default(name)]
    if arguments.evaluator != "supernet" and idle:
        parser.error(f"--{idle[0].replace('_', '-')} needs --evaluator supernet")
    if arguments.evaluator == "supernet" and arguments.standalone_steps is not None:
        parser.error("--standalone-steps needs --evaluator standalone")
    arguments.standalone_steps = arguments.standalone_steps or STANDALONE_STEPS
    if len(arguments.objectives) > 1 and arguments.finalists:
        parser.error("--finalists needs one objective: a front has no winner")
    if arguments.backend == "local" and (arguments.workers > 1 or arguments.ray_address):
        parser.error("--workers and --ray-address need --backend ray")
    resolve(arguments)
    return SearchConfig(**vars(arguments))


def run(config: SearchConfig) -> None:
    """Train, search, export; whatever an earlier run of the same config finished is not done again."""
    start = time.monotonic()
    from nas.objectives import objectives_of
    from proxies.architecture_band import ArchitectureBand
    from proxies.cost import parse_budget, without_latency
    from space.files import load_space

    space, budget = load_space(config.space), parse_budget(config.budget, config.floor)
    objectives = objectives_of(config.objectives, budget)
    # A budget out of reach ends here, before anything slow is imported or read.
    band = ArchitectureBand(space, without_latency(budget))

    from rich.console import Console

    from nas.supernet_run import SupernetRun
    from supernet.data import open_images

    # What is written to a file has room for every column.
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    images = open_images(config.data)
    image_size = config.image_size or images.default_image_size()
    if (space.num_classes, space.in_chans) != (images.num_classes, images.in_chans):
        space = space.replace(num_classes=images.num_classes, in_chans=images.in_chans)
        band = ArchitectureBand(space, without_latency(budget))
    supernet_run = SupernetRun(config.out, space, config.data, image_size, config.seed)
    if config.dry_run:
        _plan(console, config, band, budget, supernet_run)
        return

    from nas.backends import Stop
    from nas.latency_limits import within_latencies
    from nas.parents import parents_within
    from nas.run_directory import open_run
    from nas.study import ArchitectureStudy, reported

    open_run(config.out, asdict(config) | {"image_size": image_size}, FREE)
    tables: Mapping[str, LatencyTable] = {}
    if budget.targets:
        band, tables = within_latencies(console, band, budget, config.latency_tables, config.seed)
    _introduce(console, config, band, budget, supernet_run)

    seconds = None if config.minutes is None else 60 * config.minutes
    if config.evaluator == "supernet":
        scope = scope_of(space, band if config.scope == "band" else None)
        train_supernet(console, config, scope, supernet_run, None if seconds is None else seconds / 2)
    study = ArchitectureStudy(config.storage_url, config.out.name, band, budget, objectives, config.sampler, config.seed)
    parents = parents_within(space, budget)
    with reported(config.storage_url):
        for parent in parents:
            if band.contains(parent.architecture):
                study.enqueue(parent.architecture, origin=parent.architecture.name)
        share = 1 - FINALS_SHARE if config.num_finalists else 1
        searching = None if seconds is None else start + seconds * share
        _search(config, study, supernet_run, Stop(config.trials, searching))
        _conclude(console, config, study, budget, tables, supernet_run, parents, start)


def _plan(console: Console, config: SearchConfig, band: ArchitectureBand, budget: Budget, supernet_run: SupernetRun) -> None:
    from nas.dry_run import print_plan

    names = ["config.json", "best.yaml", "trials.csv"]
    if config.evaluator == "supernet":
        names += ["supernet.safetensors", "best.safetensors"]
    if config.num_finalists or config.evaluator == "standalone":
        names.append(f"{STANDALONE}/")
    if len(config.objectives) == 1:
        names += [f"next-{rank}.yaml" for rank in range(2, config.keep + 1)]
    else:
        names += ["front-2.yaml and so on, as many as the front has points"]
    storage = [] if config.storage else ["study.db"]
    _introduce(console, config, band, budget, supernet_run)
    print_plan(console, config, band, list(budget.targets.values()), supernet_run, [f"{config.out}/{name}" for name in [*names, *storage]])


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
    console.print(f"watch it: {Path(sys.executable).parent / 'optuna-dashboard'} {config.storage_url}\n", soft_wrap=True)


def _number(bounds: tuple[int, int]) -> str:
    """A count as people read it: exact up to a million, then rounded."""
    least, most = bounds
    about = "" if least == most else "about "
    return f"{about}{(least + most) // 2:,}" if most < 10**6 else f"{about}{(least + most) / 2:.3g}"


def _search(config: SearchConfig, study: ArchitectureStudy, supernet_run: SupernetRun, stop: Stop) -> None:
    from nas.progress import phase

    make_evaluator = _make_evaluator(config, supernet_run)
    with phase("search", config.trials) as advance:
        results = study.results()
        best = results[0] if results else None
        advance(at=len(results), note=_best_in_words(best))

        def on_result(result: Result) -> None:
            nonlocal best
            best = result if best is None else max(best, result, key=lambda one: one.rank_key)
            advance(1, note=_best_in_words(best))

        if config.backend == "ray":
            from nas.backends import Workers
            from nas.backends.ray import run_ray

            workers = Workers(config.workers, config.ray_address)
            run_ray(study, make_evaluator, stop, on_result, workers, config.out / "ray")
        else:
            from nas.backends.local import run_local

            run_local(study, make_evaluator, stop, on_result)


def _make_evaluator(config: SearchConfig, supernet_run: SupernetRun) -> MakeEvaluator:
    if config.evaluator == "supernet":
        return partial(_racing, supernet_run, max(config.keep, config.num_finalists)) if config.race else supernet_run.load_evaluator
    from nas.standalone import BATCH_SIZE, Conditions, StandaloneEvaluator

    conditions = Conditions(supernet_run, BATCH_SIZE, config.out / STANDALONE)
    return partial(StandaloneEvaluator, conditions, config.standalone_steps, config.seed)


def _racing(supernet_run: SupernetRun, keep: int) -> Evaluator:
    return supernet_run.load_evaluator().racing(keep)


def _best_in_words(best: Result | None) -> str:
    return "" if best is None else f"best {100 * best.score.accuracy:.1f} % at {best.cost.macs / 1e9:.3g} GFLOPs"


def _conclude(
    console: Console, config: SearchConfig, study: ArchitectureStudy, budget: Budget, tables: Mapping[str, LatencyTable],
    supernet_run: SupernetRun, parents: Sequence[Parent], start: float,
) -> None:  # fmt: skip
    from nas.audit_report import trust_in_words
    from nas.finalists import choose_finalists, measured_latencies
    from nas.progress import phase
    from nas.results import print_finals, print_table, write_architectures, write_trials

    results = study.results()
    if not results:
        console.print("no architecture was evaluated in time; run the same command again with more --minutes", soft_wrap=True)
        return
    write_trials(config.out / "trials.csv", study, results)
    ranked = results if len(study.objectives) == 1 else study.front()
    keep = max(config.keep, config.num_finalists) if len(study.objectives) == 1 else len(ranked)
    measuring = phase("measuring finalists", keep + len(parents)) if tables else nullcontext(lambda: None)
    with measuring as advance:
        finalists, missed = choose_finalists(ranked, budget, tables, keep, advance)
        measured = {}
        for parent in parents:
            measured[parent.architecture.name] = measured_latencies(parent.architecture, tables)
            advance()
    finals = None
    if config.num_finalists:
        finalists, finals = _finals(console, config, study, supernet_run, finalists, parents, start)
    if len(study.objectives) == 1:
        finalists = finalists[: config.keep]
    best = finalists[0].result
    _recount(best)
    write_architectures(config.out, study, finalists, finals)
    if config.evaluator == "supernet":
        supernet_run.load_evaluator().write_weights(best.architecture, config.out / "best.safetensors")
        judged_by, trust = "with the supernet's weights", trust_in_words(config.out)
    else:
        judged_by, trust = f"after {config.standalone_steps} steps alone", ""
    print_table(console, study, finalists, parents, measured, judged_by, trust)
    if finals is not None:
        print_finals(console, finals)
    for finalist in missed:
        console.print(f"trial {finalist.result.number} was passed over: measured, it is slower than the budget allows", soft_wrap=True)
    counts = f"{len(results)} architectures evaluated, {study.num_failed} evaluations failed"
    console.print(f"{counts}; all of them: {config.out / 'trials.csv'}", soft_wrap=True)
    console.print(f"winner: {config.out / 'best.yaml'}; retrain it:", soft_wrap=True)
    console.print(f"  {sys.executable} -m nas.retrain {config.out / 'best.yaml'} --data {config.data}", soft_wrap=True)


def _finals(
    console: Console, config: SearchConfig, study: ArchitectureStudy, supernet_run: SupernetRun, finalists: list[Finalist],
    parents: Sequence[Parent], start: float,
) -> tuple[list[Finalist], Finals | None]:  # fmt: skip
    """Let the best train alone; the finalists in the order of that, and how it ended where there was time for it."""
    from nas.backends import Stop
    from nas.finalists import Finalist
    from nas.finals import affordable_steps, entrants_of, hold_finals, num_steps, plan_steps
    from nas.progress import phase
    from nas.standalone import BATCH_SIZE, Conditions, Trained, Training, default_workers, in_processes

    candidates = finalists[: config.num_finalists]
    numbers = {one.result.number for one in finalists}
    # Where a latency is promised there is none: nobody has measured it.
    drawn = None if study.band.budget.targets else next((one for one in study.random_draws() if one.number not in numbers), None)
    extra = None if drawn is None else Finalist(drawn)
    entrants = entrants_of(candidates, extra, parents, study.results(), supernet_run)
    deadline = None if config.minutes is None else start + 60 * config.minutes
    elapsed = time.monotonic() - start
    seconds = deadline - time.monotonic() if deadline else elapsed / 3 if config.finalists is None else math.inf
    folder = config.out / STANDALONE
    trained = config.standalone_steps if config.evaluator == "standalone" else None
    steps = plan_steps(folder / "steps.json", len(entrants), affordable_steps(study.results(), seconds, trained))
    if not steps:
        console.print("no time for finals: the winner is the search's choice; with more --minutes the best train alone", soft_wrap=True)
        return finalists, None
    conditions, stop = Conditions(supernet_run, BATCH_SIZE, folder), Stop(config.trials, deadline)
    each = in_processes(default_workers())
    if config.backend == "ray":
        from nas.backends import Workers
        from nas.backends.ray import on_ray

        each = on_ray(Workers(config.workers, config.ray_address))
    with phase("finals", num_steps(len(entrants), steps)) as advance:

        def on_result(training: Training, result: Trained) -> None:
            advance(training.steps, f"{training.steps} steps: {100 * result.score.accuracy:.1f} %")

        finals = hold_finals(conditions, entrants, steps, each, stop.is_late, on_result)
    by_architecture = {one.result.architecture: one for one in [*finalists, *([extra] if extra else [])]}
    ranked = [by_architecture[entrant.architecture] for entrant in finals.ranking if entrant.wins]
    return [*ranked, *(one for one in finalists if one not in ranked)], finals


def _recount(best: Result) -> None:
    """Count the winner once more, as a built network and with another counter, before it is written."""
    from proxies.reference import count_network
    from space.network import build_network

    architecture = best.architecture
    counted = count_network(build_network(architecture), architecture.image_size, architecture.in_chans)
    if counted != best.cost:
        raise AssertionError(f"trial {best.number}: got {best.cost} from its parts and {counted} from the built network, expected the same")


if __name__ == "__main__":
    sys.exit(main())
