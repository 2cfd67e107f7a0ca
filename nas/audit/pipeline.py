"""An audit from its config to its report: a sample of architectures trains alone, and every cheaper score is compared with that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from nas.audit import predictors
from nas.audit.analysis import Analysis, Truth, analyse, truth_of
from nas.audit.config import AuditConfig
from nas.audit.gradient_conflicts import gradient_cosines, mean_cosines
from nas.audit.latencies import latencies
from nas.audit.operator_bias import by_operator
from nas.audit.plan import plan_audit
from nas.audit.report import write_audit
from nas.audit.sample import SampleTrainings, draw_sample, sample_of
from nas.audit.table import write_bench, write_page
from nas.cli.command_line import command_of
from nas.cli.plan import print_plan
from nas.cli.progress import phase
from nas.evaluators.standalone import train_all, training_alone
from nas.evaluators.supernet import load_evaluator
from nas.evaluators.trainings import Conditions, Trained, Training
from nas.execution.workers import open_workers
from nas.runs.directory import check_run, config_of_run, open_run
from nas.runs.lock import lock
from nas.train.supernet_run import SupernetRun, open_supernet_run
from proxies.cost import BudgetError, parse_budget
from proxies.latency import BackendError
from proxies.target import parse_target
from supernet.training.checkpoint import load_checkpoint

CONTEXTS, CONFLICT_IMAGES = 8, 128
"""Architectures and images for which gradients are compared."""


@dataclass(frozen=True)
class Audited:
    """What an audit found.

    Args:
        folder: of `report.md`, `report.json` and the table of all scores.
        verdict: what the figures allow to say, in sentences.
        analysis: correlations of every score with the truth, biases by operator.
    """
    folder: Path
    verdict: tuple[str, ...]
    analysis: Analysis


def run_audit(config: AuditConfig, console: Console, data: Any = None) -> Audited | None:
    """Draw and train the sample as far as that is not done, then report on the run; None for a dry run.

    Args:
        data: the run's data set, where that is a caller's own.
    """
    found = config_of_run(config.run)
    supernet_run = open_supernet_run(config.run, data)
    text = config.budget or found.get("budget")
    if text is None:
        raise BudgetError(f"--budget: {config.run} was trained without one, expected one to draw half of the sample at, such as 450MFLOPs")
    budget, target = parse_budget(text), parse_target(config.latency)
    conditions = Conditions(supernet_run, config.batch_size, config.bench / "trainings", may_compile=config.may_compile)
    given = {key: found[key] for key in ("space", "only", "data")} | {"image_size": supernet_run.image_size, "splits": supernet_run.seed}
    asked = {key: getattr(config, key) for key in ("architectures", "seeds", "steps", "batch_size", "long", "short", "sample_seed")}
    resolved = given | asked | {"budget": str(budget)}
    check_run(config.bench, resolved, config.may_change())
    if config.dry_run:
        drawn = list(draw_sample(supernet_run.searched_space, budget, config.architectures, config.sample_seed))
        print_plan(console, plan_audit(config, conditions, drawn))
        return None

    with ExitStack() as held:
        held.enter_context(open_run(config.bench, resolved, config.may_change()))
        if config.folder != config.bench:
            config.folder.mkdir(exist_ok=True)
            held.enter_context(lock(config.folder))
        members = sample_of(config.bench / "sample", supernet_run.searched_space, budget, config.architectures, config.sample_seed)
        # Before anything slow: this machine may lack the device.
        milliseconds: dict[str, Sequence[float]] = {}
        with phase("timing the sample", 1, console) as advance:
            try:
                milliseconds[str(target)] = latencies(config.bench / "latencies", members, target)
            except BackendError as error:
                console.print(f"{error}; the audit leaves out latency as a predictor", soft_wrap=True)
            advance()
        sampled = SampleTrainings.of(config, members)
        trainings = [training for of_kind in sampled for training in of_kind]
        make_function = partial(training_alone, conditions)
        with (
            phase("stand-alone training", sum(training.steps for training in trainings), console) as advance,
            open_workers(make_function, config.resources, config.bench / "ray") as workers,
        ):

            def on_result(training: Training, result: Trained, was_done: bool) -> None:
                advance(training.steps, f"{training.steps} steps: {result.score.in_words}", was_done=was_done)

            train_all(conditions, trainings, workers, on_result).check()
        results = {training: result for training in trainings if (result := conditions.result_of(training))}
        truth = truth_of(members, sampled.truth, sampled.long, results)
        return _report(config, console, supernet_run, truth, sampled.short, results, milliseconds)


def _report(
    config: AuditConfig, console: Console, supernet_run: SupernetRun, truth: Truth, short: Sequence[Training],
    results: Mapping[Training, Trained], milliseconds: Mapping[str, Sequence[float]],
) -> Audited:  # fmt: skip

    members, has_supernet = truth.members, supernet_run.weights_file.exists()
    with phase("scoring the sample", (3 if has_supernet else 1) * len(members), console) as advance:
        of_supernet = predictors.of_supernet(supernet_run, members, advance) if has_supernet else []
        zero_cost = predictors.of_zero_cost(supernet_run, members, advance, partial(console.print, soft_wrap=True))
    of_short = predictors.of_short_trainings(short, results, members)
    together = predictors.with_supernet(of_supernet[0], of_short) if has_supernet else []
    if has_supernet:
        of_supernet.append(predictors.without_bias(of_supernet[0], truth.means, members))
    scored = [*of_supernet, *predictors.of_sizes(members), *predictors.of_latencies(milliseconds), *of_short, *together, *zero_cost]
    facts = _facts(config, supernet_run, results)
    for target in (config.folder, config.publish) if config.publish else (config.folder,):
        write_bench(target, config.bench / "sample", truth, scored, results, milliseconds)
    if config.publish:
        write_page(config.publish, facts, command_of("nas.audit", config))
    of_operators = _of_operators(supernet_run, truth) if has_supernet else {}
    analysis = analyse(truth, scored)
    verdict = write_audit(config.folder, truth, scored, analysis, facts, of_operators)
    console.print("\n".join(verdict), soft_wrap=True)
    console.print(f"report: {config.folder / 'report.md'}", soft_wrap=True)
    return Audited(config.folder, tuple(verdict), analysis)


def _facts(config: AuditConfig, supernet_run: SupernetRun, results: Mapping[Training, Trained]) -> dict[str, str]:
    """What the report is of, in words."""
    space, (images, splits) = supernet_run.searched_space, supernet_run.images()
    seconds = [result.core_seconds for result in results.values() if result.steps == config.steps]
    facts = {
        "space": f"{space.name}, {space.size:.3g} architectures",
        "data": f"{Path(images.source).name} at {supernet_run.image_size} px, {len(splits.search)} search images",
        "truth": f"{config.seeds} seeds, {config.steps} steps of {config.batch_size} images, {sum(seconds) / len(seconds):.0f} core-s each",
    }
    if supernet_run.weights_file.exists():
        training = load_checkpoint(supernet_run.weights_file)[1]
        facts["supernet"] = f"{config.run.name}, {training['steps']} steps, {training['seconds']:.0f} s"
    return facts


def _of_operators(supernet_run: SupernetRun, truth: Truth) -> dict[str, Mapping[str, float]]:
    """What may explain a bias: how often an operator was updated, and how its gradients agree with others'."""
    updates = by_operator(load_checkpoint(supernet_run.weights_file)[1].get("updates", {}))
    images, splits = supernet_run.images()
    contexts = [member.architecture for member in truth.members if member.part == "band"][:CONTEXTS]
    task = supernet_run.task
    batch = task.fixed_batch(images, splits.train[:CONFLICT_IMAGES], supernet_run.image_size)
    supernet = load_evaluator(supernet_run).supernet.cpu().requires_grad_(True)
    cosines = mean_cosines(gradient_cosines(supernet, contexts, *batch, task))
    return {"mean gradient cosine with other mixers": cosines} | ({"updates": updates} if updates else {})
