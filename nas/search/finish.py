"""How a search ends: its best are measured, train alone in finals, are written, and stand in a table."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

from rich.console import Console

from nas.audit.report import trust_in_words
from nas.cli.progress import phase
from nas.cli.screen import Screen
from nas.evaluators.standalone import BATCH_SIZE, Conditions, Trained, Training, default_workers
from nas.execution import Stop, Workers, each_on
from nas.report.page import write_report
from nas.search.config import SearchConfig
from nas.search.finalists import Finalist, choose_finalists, measured_latencies
from nas.search.finals import Finals, affordable_steps, entrants_of, hold_finals, num_steps, plan_steps
from nas.search.outputs import print_finals, print_table, write_architectures, write_trials
from nas.study.architecture_study import ArchitectureStudy
from nas.study.record import Result
from nas.train.supernet_run import SupernetRun
from proxies.cost import Budget
from proxies.latency import LatencyTable
from proxies.published import Parent
from proxies.reference import count_network
from space.network import build_network


def conclude(
    screen: Screen, config: SearchConfig, study: ArchitectureStudy, budget: Budget, tables: Mapping[str, LatencyTable],
    supernet_run: SupernetRun, parents: Sequence[Parent], start: float,
) -> None:  # fmt: skip
    """Measure and train the best as far as that is asked for and there is time, write them, and print how it ended.

    Args:
        tables: of the latencies that the budget limits.
        parents: published networks within the budget.
        start: of the search, by `time.monotonic`.
    """
    console, results = screen.console, study.results()
    if not results:
        console.print("no architecture was evaluated in time; run the same command again with more --minutes", soft_wrap=True)
        return
    write_trials(config.out / "trials.csv", study, results)
    ranked = results if len(study.objectives) == 1 else study.front()
    keep = max(config.keep, config.num_finalists) if len(study.objectives) == 1 else len(ranked)
    measuring = phase("measuring finalists", keep + len(parents), console) if tables else nullcontext(lambda: None)
    with measuring as advance:
        finalists, missed = choose_finalists(ranked, budget, tables, keep, advance)
        measured = {}
        for parent in parents:
            measured[parent.architecture.name] = measured_latencies(parent.architecture, tables)
            advance()
    finals = None
    if config.num_finalists:
        screen.reach("finals")
        finalists, finals = _finals(console, config, study, supernet_run, finalists, parents, start)
    screen.reach("report")
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
    failures = study.failures()
    console.print(f"{len(results)} architectures evaluated, all of them: {config.out / 'trials.csv'}", soft_wrap=True)
    if failures:
        number, reason = next(iter(failures.items()))
        console.print(f"{len(failures)} evaluations failed, the first (trial {number}) since {reason}", soft_wrap=True)
    console.print(f"report, for any browser: {write_report(config.out, study)}", soft_wrap=True)
    console.print(f"winner: {config.out / 'best.yaml'}; retrain it:", soft_wrap=True)
    console.print(f"  {sys.executable} -m nas.retrain {config.out / 'best.yaml'} --data {config.data}", soft_wrap=True)


def _finals(
    console: Console, config: SearchConfig, study: ArchitectureStudy, supernet_run: SupernetRun, finalists: list[Finalist],
    parents: Sequence[Parent], start: float,
) -> tuple[list[Finalist], Finals | None]:  # fmt: skip
    """Let the best train alone; the finalists in the order of that, and how it ended where there was time for it."""
    candidates = finalists[: config.num_finalists]
    numbers = {one.result.number for one in finalists}
    # Where a latency is promised there is none: nobody has measured it.
    drawn = None if study.band.budget.targets else next((one for one in study.random_draws() if one.number not in numbers), None)
    extra = None if drawn is None else Finalist(drawn)
    entrants = entrants_of(candidates, extra, parents, study.results(), supernet_run)
    deadline = None if config.minutes is None else start + 60 * config.minutes
    elapsed = time.monotonic() - start
    seconds = deadline - time.monotonic() if deadline else elapsed / 3 if config.finalists is None else math.inf
    folder = config.standalone_folder
    trained = config.standalone_steps if config.evaluator == "standalone" else None
    steps = plan_steps(folder / "steps.json", len(entrants), affordable_steps(study.results(), seconds, trained))
    if not steps:
        console.print("no time for finals: the winner is the search's choice; with more --minutes the best train alone", soft_wrap=True)
        return finalists, None
    conditions, stop = Conditions(supernet_run, BATCH_SIZE, folder), Stop(config.trials, deadline)
    num_workers = config.resources.num_workers if config.backend == "ray" else default_workers()
    each = each_on(config.backend, Workers(num_workers, config.ray_address, gpus=config.gpus_per_worker))
    with phase("finals", num_steps(len(entrants), steps), console) as advance:

        def on_result(training: Training, result: Trained) -> None:
            advance(training.steps, f"{training.steps} steps: {100 * result.score.accuracy:.1f} %")

        finals = hold_finals(conditions, entrants, steps, each, stop.is_late, on_result)
    by_architecture = {one.result.architecture: one for one in [*finalists, *([extra] if extra else [])]}
    ranked = [by_architecture[entrant.architecture] for entrant in finals.ranking if entrant.wins]
    return [*ranked, *(one for one in finalists if one not in ranked)], finals


def _recount(best: Result) -> None:
    """Count the winner once more, as a built network and with another counter, before it is written."""
    architecture = best.architecture
    counted = count_network(build_network(architecture), architecture.image_size, architecture.in_chans)
    if counted != best.cost:
        raise AssertionError(f"trial {best.number}: got {best.cost} from its parts and {counted} from the built network, expected the same")
