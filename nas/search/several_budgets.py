"""Several budgets in one command: a supernet is trained once in the whole space, and searched in each budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.runs.directory import CONFIG, config_of_run
from nas.runs.records.tables import write_csv
from nas.search.command_config import SearchCommandConfig
from nas.search.config import SearchConfig
from nas.train.config import TrainingConfig
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget, without_latency
from space.files import load_space
from space.narrowing import narrowed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from nas.search.found import Found

WINNERS = "winners.csv"


def run(config: SearchCommandConfig, console: Console) -> None:
    """Search one budget or several, as the config says."""
    from nas.search.pipeline import run_search

    if config.budgets:
        run_searches(config, console)
    else:
        run_search(config.of_one_budget, console)


def run_searches(config: SearchCommandConfig, console: Console, data: Any = None) -> dict[str, Found]:
    """Train a supernet where none is given, search it in each budget, and write a table of the winners.

    Each search learns from those before it. Nothing that an earlier run finished is done again; another budget may be added to the list.

    Args:
        data: a data set of the caller's; by default the config names it.

    Returns:
        What was found by budget; budgets in which nothing was evaluated in time are left out.
    """
    searches = config.searches(config.supernet or config.out)
    if config.supernet is None:
        # Budgets out of reach end here, before anything slow is imported or read.
        space = narrowed(load_space(config.space), config.narrowings)
        for search in searches.values():
            ArchitectureBand(space, without_latency(parse_budget(search.budget, search.floor)))
    if config.dry_run:
        _print_plan(config, searches, console, data)
        return {}

    from nas.search.pipeline import run_search
    from nas.train.training import train_run

    has_begun = any((search.out / CONFIG).exists() for search in searches.values())
    if config.supernet is None and not has_begun:
        train_run(_training(config), console, data)
    found: dict[str, Found] = {}
    for budget, search in searches.items():
        console.print(f"\n[bold]{budget}[/bold]", soft_wrap=True)
        one = run_search(_learning(search, [run.folder for run in found.values()]), console, data)
        if one is not None:
            found[budget] = one
    if found:
        config.out.mkdir(parents=True, exist_ok=True)
        _show_winners(config, found, console)
    return found


def _learning(search: SearchConfig, found: Sequence[Path]) -> SearchConfig:
    """A search whose sampler learns from those before it, or, where it has begun, from what it learned from then."""
    if search.sampler == "random" or "learn_from" in search.given:
        return search
    learn_from = config_of_run(search.out).get("learn_from", ()) if (search.out / CONFIG).exists() else found
    return SearchConfig(**{name: getattr(search, name) for name in search.given}, learn_from=tuple(learn_from))


def _training(config: SearchCommandConfig) -> TrainingConfig:
    minutes = None if config.minutes is None else config.minutes / 2
    return TrainingConfig.restored(config.values() | {"budget": None, "minutes": minutes})


def _show_winners(config: SearchCommandConfig, found: Mapping[str, Found], console: Console) -> None:
    from nas.cli.console import table_of
    from nas.report.cost_columns import cost_cells, macs_unit
    from nas.report.score_columns import score_cells, score_headings

    first = next(iter(found.values())).best
    scores, unit = score_headings(first.score.metric, first.score.num_images > 0), macs_unit(first.cost.macs)
    headings = ("budget", *scores, unit.name, "Mparams", "winner")
    table = table_of(headings, "The winner of each budget", ("budget", "winner"))
    rows = []
    for budget, one in found.items():
        best = one.best
        file = str(best.file.relative_to(config.out))
        table.add_row(budget, *score_cells(best.score), *cost_cells(best.cost, unit), file)
        facts = {"trial": best.number, **best.score.facts, "macs": best.cost.macs, "params": best.cost.params}
        rows.append({"budget": budget, **facts, "fingerprint": best.architecture.fingerprint, "file": file})
    write_csv(config.out / WINNERS, rows)
    console.print()
    console.print(table)
    console.print("Scores rank the architectures of a budget; retrain the winners to compare budgets.", soft_wrap=True)
    console.print(f"table: {config.out / WINNERS}", soft_wrap=True)


def _print_plan(config: SearchCommandConfig, searches: Mapping[str, SearchConfig], console: Console, data: Any) -> None:
    """Print one plan: the training, where there is one, and the phases of every search."""
    from dataclasses import replace

    from nas.cli.plan import Plan, print_plan
    from nas.search.pipeline import open_given_supernet
    from nas.search.plan import plan_search
    from nas.train.plan import plan_training
    from nas.train.training import open_training

    if config.supernet is None:
        training = _training(config)
        supernet_run, *_ = open_training(training, data)
        plan = plan_training(training, supernet_run, None, [])
    else:
        supernet_run, plan = open_given_supernet(next(iter(searches.values())), data), Plan((), {})
    for budget, search in searches.items():
        limits = parse_budget(search.budget, search.floor)
        band = ArchitectureBand(supernet_run.searched_space, without_latency(limits))
        one = plan_search(search, band, list(limits.targets.values()), supernet_run)
        phases = tuple(replace(phase, name=f"{budget} {phase.name}") for phase in one.phases)
        plan = Plan(plan.phases + phases, {**plan.memory, **one.memory}, {**plan.files, **one.files}, plan.passing, plan.note or one.note)
    print_plan(console, plan)
