"""How a search ends: its best are measured, train alone in finals, are written, and stand in a table."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial

from rich.console import Console

from nas.cli.progress import phase
from nas.cli.screen import Screen
from nas.evaluators.standalone import BATCH_SIZE, Conditions, Trained, Training, training_alone
from nas.evaluators.supernet import load_evaluator
from nas.execution.loop import Deadline
from nas.execution.opening import open_workers
from nas.report.page import write_report
from nas.runs.records.audit import trust_in_words
from nas.runs.records.finals import FinalsRecord, write_finals
from nas.search.config import SearchConfig
from nas.search.finalists import Finalist, choose_finalists, measured_latencies
from nas.search.finals import candidates_of, hold_finals, num_steps, steps_of_rounds
from nas.search.outputs import print_finals, print_table, write_architectures, write_trials
from nas.study.architecture_study import ArchitectureStudy
from nas.study.record import Result
from nas.train.supernet_run import SupernetRun
from proxies.cost import Budget
from proxies.latency import LatencyTable
from proxies.published import Parent
from proxies.reference import count_network
from space.network import build_network
from supernet.data.own_dataset import OF_CALLER


def finish(
    screen: Screen, config: SearchConfig, study: ArchitectureStudy, budget: Budget, tables: Mapping[str, LatencyTable],
    supernet_run: SupernetRun, parents: Sequence[Parent], deadline: Deadline,
) -> tuple[list[Result], FinalsRecord | None]:  # fmt: skip
    """Measure and train the best as far as that is asked for, write them, and print how it ended.

    Args:
        tables: of the latencies that the budget limits.
        parents: published networks within the budget.
        deadline: after which no training of the finals is begun.

    Returns:
        The architectures that were written, best first, and the finals where they were held.
    """
    console, results = screen.console, study.results()
    if not results:
        console.print("no architecture was evaluated in time; run the same command again with more --minutes", soft_wrap=True)
        return [], None
    write_trials(config.out / "trials.csv", study, results)
    has_one = len(study.objectives) == 1
    ranked = results if has_one else study.front()
    keep = max(config.keep, config.finalists) if has_one else len(ranked)
    measuring = phase("measuring finalists", keep + len(parents), console) if tables else nullcontext(lambda: None)
    with measuring as advance:
        finalists, missed = choose_finalists(ranked, budget, tables, keep, advance)
        measured = {}
        for parent in parents:
            measured[parent.architecture.name] = measured_latencies(parent.architecture, tables)
            advance()
    finals = None
    if config.finalists:
        screen.reach("finals")
        finalists, finals = _finals(console, config, study, supernet_run, finalists, parents, results, deadline)
    screen.reach("report")
    if has_one:
        finalists = finalists[: config.keep]
    best = finalists[0].result
    _recount(best)
    write_architectures(config.out, study, finalists, finals)
    trust = ""
    if config.judged_by == "supernet":
        load_evaluator(supernet_run).write_weights(best.architecture, config.out / "best.safetensors")
        trust = trust_in_words(supernet_run.folder)
    print_table(console, study, finalists, parents, measured, _judge_in_words(config), trust)
    if finals is not None:
        print_finals(console, finals)
    for finalist in missed:
        console.print(f"trial {finalist.result.number} was passed over: measured, it is slower than the budget allows", soft_wrap=True)
    console.print(f"{len(results)} architectures evaluated, all of them: {config.out / 'trials.csv'}", soft_wrap=True)
    if failures := study.failures():
        number, reason = next(iter(failures.items()))
        console.print(f"{len(failures)} evaluations failed, the first (trial {number}) since {reason}", soft_wrap=True)
    console.print(f"report, for any browser: {write_report(config.out, study)}", soft_wrap=True)
    console.print(f"winner: {config.out / 'best.yaml'}; retrain it:", soft_wrap=True)
    source = "..." if supernet_run.data.startswith(OF_CALLER) else supernet_run.data
    console.print(f"  {sys.executable} -m nas.retrain {config.out / 'best.yaml'} --data {source}", soft_wrap=True)
    return [finalist.result for finalist in finalists], finals


def _judge_in_words(config: SearchConfig) -> str:
    words = {"supernet": "with the supernet's weights", "standalone": f"after {config.standalone_steps} steps alone"}
    return words.get(config.judged_by, f"of {config.judged_by}")


def _finals(
    console: Console, config: SearchConfig, study: ArchitectureStudy, supernet_run: SupernetRun, finalists: list[Finalist],
    parents: Sequence[Parent], results: Sequence[Result], deadline: Deadline,
) -> tuple[list[Finalist], FinalsRecord]:  # fmt: skip
    """Let the best train alone; the finalists in the order of that, and the record of it."""
    best = [one.result for one in finalists[: config.finalists]]
    numbers = {one.result.number for one in finalists}
    # Where a latency is promised there is none: nobody has measured it.
    drawn = None if study.band.budget.targets else next((one for one in study.random_draws() if one.number not in numbers), None)
    candidates = candidates_of(best, drawn, parents, results, supernet_run)
    steps = steps_of_rounds(config.finals_steps)
    conditions = Conditions(supernet_run, BATCH_SIZE, config.standalone_folder)
    total = num_steps(len(candidates), steps)
    with (
        phase("finals", total, console) as advance,
        open_workers(partial(training_alone, conditions), config.resources, config.out / "ray") as workers,
    ):

        def on_result(training: Training, result: Trained) -> None:
            advance(training.steps, f"{training.steps} steps: {result.score.in_words}")

        finals = hold_finals(conditions, candidates, steps, workers, deadline, on_result)
    write_finals(config.out, finals)
    by_fingerprint = {one.result.architecture.fingerprint: one for one in finalists}
    if drawn is not None:
        by_fingerprint[drawn.architecture.fingerprint] = Finalist(drawn)
    ranked = [by_fingerprint[one.fingerprint] for one in finals.finalists if one.competes]
    return [*ranked, *(one for one in finalists if one not in ranked)], finals


def _recount(best: Result) -> None:
    """Count the winner once more, as a built network and with another counter, before it is written."""
    architecture = best.architecture
    counted = count_network(build_network(architecture), architecture.image_size, architecture.in_chans)
    if counted != best.cost:
        raise AssertionError(f"trial {best.number}: got {best.cost} from its parts and {counted} from the built network, expected the same")
