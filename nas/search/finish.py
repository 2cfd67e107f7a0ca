"""The end of a search: its best are measured, train alone by successive halving, and are written and printed."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial

from rich.console import Console

from nas.cli.console import print_command
from nas.cli.progress import phase
from nas.cli.screen import Screen
from nas.evaluators.examples import record_examples
from nas.evaluators.standalone import training_alone
from nas.evaluators.supernet import load_evaluator
from nas.evaluators.trainings import BATCH_SIZE, Conditions, Trained, Training
from nas.execution.loop import Deadline
from nas.execution.workers import open_workers
from nas.report.page import write_report
from nas.runs.records.audit import ranking_in_words
from nas.runs.records.halving import HalvingRecord, write_halving
from nas.runs.records.role import Role
from nas.search.config import SearchConfig
from nas.search.int8 import check_int8
from nas.search.measured import MeasuredResult, measure_best, measured_latencies
from nas.search.outputs import print_best, print_halving, write_architectures, write_trials
from nas.search.successive_halving import candidates_of, halve, num_steps, steps_of_rungs
from nas.study.architecture_study import ArchitectureStudy
from nas.study.record import Result
from nas.train.supernet_run import SupernetRun
from proxies.cost import Budget
from proxies.latency import BackendError, LatencyTable, Measured
from proxies.published import Parent
from proxies.reference import count_network
from space.network import build_network
from supernet.data.own_dataset import OF_CALLER

RETRAINING_MINUTES = 8
"""Of the retraining that the end of a search proposes."""


def finish(
    screen: Screen, config: SearchConfig, study: ArchitectureStudy, budget: Budget, tables: Mapping[str, LatencyTable],
    supernet_run: SupernetRun, parents: Sequence[Parent], deadline: Deadline,
) -> tuple[list[Result], HalvingRecord | None]:  # fmt: skip
    """Measure and train the best as far as that is asked for, write them, and print how it ended.

    Args:
        tables: of the latencies that the budget limits.
        parents: published networks within the budget.
        deadline: after which no training of successive halving is begun.

    Returns:
        The architectures that were written, best first, and the record of successive halving, if any.
    """
    console, results = screen.console, study.results()
    if not results:
        console.print("no architecture was evaluated in time; run the same command again with more --minutes", soft_wrap=True)
        return [], None
    write_trials(config.out / "trials.csv", study, results)
    has_one = len(study.objectives) == 1
    ranked = results if has_one else study.front()
    keep = max(config.keep, config.halving_candidates) if has_one else len(ranked)
    measuring = phase("measuring the best", keep + len(parents), console) if tables else nullcontext(lambda: None)
    with measuring as advance:
        best, left_out = measure_best(ranked, budget, tables, keep, advance)
        latencies_of_parents: dict[str, Mapping[str, Measured]] = {}
        failures_of_parents: list[str] = []
        for parent in parents:
            try:
                latencies_of_parents[parent.architecture.name] = measured_latencies(parent.architecture, tables)
            except BackendError as error:
                latencies_of_parents[parent.architecture.name] = {}
                failures_of_parents.append(str(error))
            advance()
    halving = None
    if config.halving_candidates:
        screen.reach("halving")
        best, halving = _train_alone(console, config, study, supernet_run, best, parents, deadline)
    screen.reach("report")
    if has_one:
        best = best[: config.keep]
    winner = best[0].result
    _recount(winner)
    write_architectures(config.out, study, best, halving)
    ranking = ""
    if config.judged_by == "supernet":
        metadata = supernet_run.metadata_of(winner.architecture, Role.WINNER)
        evaluator = load_evaluator(supernet_run)
        evaluator.write_weights(winner.architecture, config.out / "best.safetensors", metadata)
        record_examples(config.out, evaluator, winner.architecture, supernet_run.images()[0].class_names)
        ranking = ranking_in_words(supernet_run.folder)
    print_best(console, study, best, parents, latencies_of_parents, _judge_in_words(config), ranking, halving is not None)
    if halving is not None:
        print_halving(console, halving)
    for one in left_out:
        console.print(f"trial {one.result.number} is left out: {one.why_left_out}", soft_wrap=True)
    for failure in failures_of_parents:
        console.print(f"a published network is not measured: {failure}", soft_wrap=True)
    console.print(f"{len(results)} architectures evaluated, all of them: {config.out / 'trials.csv'}", soft_wrap=True)
    if failures := study.summary().failures:
        number, reason = next(iter(failures.items()))
        console.print(f"{len(failures)} evaluations failed, the first (trial {number}) since {reason}", soft_wrap=True)
    write_report(config.out, study)
    _print_next_steps(console, config, supernet_run)
    return [one.result for one in best], halving


def _train_alone(
    console: Console, config: SearchConfig, study: ArchitectureStudy, supernet_run: SupernetRun, measured: list[MeasuredResult],
    parents: Sequence[Parent], deadline: Deadline,
) -> tuple[list[MeasuredResult], HalvingRecord]:  # fmt: skip
    """Let the best train alone; the measured results in the order of that, and its record."""
    best = [one.result for one in measured[: config.halving_candidates]]
    numbers = {one.result.number for one in measured}
    # Where a latency is promised, none drawn at random takes part: nobody has measured it.
    draws = [] if study.band.budget.targets else [one for one in study.random_draws() if one.number not in numbers]
    # The first, not the best of them: that would be no random one.
    drawn = min(draws, key=lambda one: one.index, default=None)
    candidates = candidates_of(best, drawn, parents, study.results(), supernet_run)
    steps = steps_of_rungs(config.halving_steps, len(candidates))
    conditions = Conditions(
        supernet_run, BATCH_SIZE, config.standalone_folder, int8=config.max_int8_drop is not None, may_compile=config.may_compile
    )
    with (
        phase("successive halving", num_steps(len(candidates), steps), console) as advance,
        open_workers(partial(training_alone, conditions), config.resources, config.out / "ray") as workers,
    ):

        def on_result(training: Training, result: Trained, was_done: bool) -> None:
            advance(training.steps, f"{training.steps} steps: {result.score.in_words}", was_done=was_done)

        record = halve(conditions, candidates, steps, workers, deadline, on_result, config.max_int8_drop)
    write_halving(config.out, record)
    check_int8(record)
    return after_training_alone(record, measured, None if drawn is None else MeasuredResult(drawn)), record


def after_training_alone(
    record: HalvingRecord, measured: Sequence[MeasuredResult], drawn: MeasuredResult | None
) -> list[MeasuredResult]:
    """The results in the order of the final training: those that took part first, then the others as the search ranks them.

    Args:
        measured: the best of the search, best first.
        drawn: took part although it was drawn at random. Where it comes last it is left out: it was there to be held against.
    """
    known = {one.result.architecture.fingerprint: one for one in (*measured, *filter(None, [drawn]))}
    ranked = [known[one.fingerprint] for one in record.eligible]
    if drawn is not None and len(ranked) > 1 and ranked[-1] is known[drawn.result.architecture.fingerprint]:
        ranked.pop()
    took_part = {one.fingerprint for one in record.candidates}
    return [*ranked, *(one for one in measured if one.result.architecture.fingerprint not in took_part)]


def _print_next_steps(console: Console, config: SearchConfig, supernet_run: SupernetRun) -> None:
    """The winner's files, and commands that each end within ten minutes, whatever the data."""
    winner, report = str(config.out / "best.yaml"), str(config.out / "report.html")
    source = "..." if supernet_run.data.startswith(OF_CALLER) else supernet_run.data
    images = (source, *supernet_run.targets.flags)
    steps: dict[str, tuple[str, ...]] = {
        f"train it, {RETRAINING_MINUTES} minutes at most": ("nas.retrain", winner, "--data", *images, "--minutes", str(RETRAINING_MINUTES)),
    }
    if config.judged_by == "supernet":
        steps["what each block's mixer is worth, minutes"] = ("nas.report", str(config.out), "--ablation")
        weights = str(config.out / "best.safetensors")
        int8 = ("--int8", "--data", *images) if config.is_int8 else ()
        steps["export it as it is, a minute"] = ("nas.export", winner, "--weights", weights, "--format", "onnx", "--fuse", *int8)
    else:
        steps["draw it, seconds"] = ("nas.draw", winner, "-o", str(config.out / "best.svg"))
    console.print(f"winner: {winner}\nwhy it won, in any browser: {report}\nNext:", soft_wrap=True)
    for what, words in steps.items():
        console.print(f"  {what}:", highlight=False)
        print_command(console, (sys.executable, "-m", *words), indent=4)


def _recount(best: Result) -> None:
    """Count the winner once more, as a built network and with another counter, before it is written."""
    architecture = best.architecture
    counted = count_network(build_network(architecture), architecture.image_size, architecture.in_chans)
    if counted != best.cost:
        raise AssertionError(f"trial {best.number}: got {best.cost} from its parts and {counted} from the built network, expected the same")


def _judge_in_words(config: SearchConfig) -> str:
    words = {"supernet": "with the supernet's weights", "standalone": f"after {config.standalone_steps} steps alone"}
    return words.get(config.judged_by, f"of {config.judged_by}")
