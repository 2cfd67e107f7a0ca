"""`python -m nas.audit --run runs/x`: how far can the run's ranking be trusted? Trains a sample alone to find out."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from nas.audit.config import AuditConfig
from nas.cli.command import CommandParser, add_dry_run, exit_code_of, number, whole_number
from nas.execution import OF_RAY, Workers, add_backend_arguments, check_backend, each_on

if TYPE_CHECKING:
    from nas.audit.analysis import Truth
    from nas.evaluators.standalone import Trained, Training
    from nas.train.supernet_run import SupernetRun

FREE = frozenset({"architectures", "seeds", "long", "short"})
"""What may grow when an audit goes on: trainings are added to those that are done."""
CONTEXTS, CONFLICT_IMAGES = 8, 128
"""Architectures and images for which gradients are compared."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    config = _parse(argv)
    return exit_code_of(lambda: run(config), is_short=config.dry_run)


def _parse(argv: Sequence[str] | None) -> AuditConfig:
    parser = CommandParser(
        prog="python -m nas.audit",
        description="Train a sample of architectures alone, and report how well a run's supernet and cheaper scores rank them.",
        epilog="Run the same command again to continue an interrupted audit.",
    )
    parser.add_argument("--run", type=Path, required=True, help="directory of a search, or of a supernet's training")
    parser.add_argument("--bench", type=Path, help="folder of the sample and its trainings, which several runs may share (RUN/audit)")
    parser.add_argument("--budget", help="half of the sample has about these multiply-adds: 450MFLOPs (the run's budget)")
    parser.add_argument("--architectures", type=whole_number(4), default=32, help="size of the sample (%(default)s)")
    parser.add_argument("--seeds", type=whole_number(1), default=2, help="trainings of each (%(default)s)")
    parser.add_argument("--steps", type=whole_number(1), default=800, help="steps of a training (%(default)s)")
    parser.add_argument("--batch-size", type=whole_number(2), default=32, help="images a step (%(default)s)")
    parser.add_argument("--long", type=number(0, 1.001), default=0.25, help="share to train five times as long as well (%(default)s)")
    parser.add_argument("--short", type=whole_number(1), nargs="*", default=[50, 100, 200], metavar="STEPS",
                        help="short trainings to judge as predictors (50 100 200)")  # fmt: skip
    parser.add_argument("--sample-seed", type=int, default=0, help="of the sample (%(default)s)")
    add_backend_arguments(parser, "trainings")
    parser.add_argument("--latency", default="cpu:1t:bs1", metavar="DEVICE", help="where the sample's networks are timed (%(default)s)")
    parser.add_argument("--publish", type=Path, metavar="FOLDER", help="also write the table of all scores there, with a page about it")
    add_dry_run(parser)
    parsed = parser.parse_args(argv)
    check_backend(parser, parsed, (*OF_RAY, "cpus_per_worker"))
    arguments = vars(parsed) | {"command": tuple(sys.argv[1:] if argv is None else argv)}
    arguments["bench"] = (arguments["bench"] or arguments["run"] / "audit").resolve()
    return AuditConfig(**arguments | {"short": tuple(arguments["short"])})


def run(config: AuditConfig) -> None:
    """Draw and train the sample as far as that is not done, then report on the run."""
    from nas.audit.sample import Plan, draw_sample, sample_of
    from nas.evaluators.standalone import Conditions, train_all
    from nas.runs.directory import config_of_run, open_run
    from nas.train.supernet_run import open_supernet_run
    from proxies.cost import BudgetError, parse_budget
    from proxies.target import parse_target

    found = config_of_run(config.run)
    supernet_run = open_supernet_run(config.run)
    text = config.budget or found.get("budget")
    if text is None:
        raise BudgetError(f"--budget: {config.run} was trained without one, expected one to draw half of the sample at, such as 450MFLOPs")
    budget, target = parse_budget(text), parse_target(config.latency)
    plan = Plan(config.steps, config.seeds, config.long, config.short)
    conditions = Conditions(supernet_run, config.batch_size, config.bench / "trainings")
    if config.dry_run:
        from nas.audit.plan import plan_audit
        from nas.cli.console import open_console
        from nas.cli.plan import print_plan

        drawn = list(draw_sample(supernet_run.space, budget, config.architectures, config.sample_seed))
        print_plan(open_console(), plan_audit(config, conditions, drawn, plan))
        return

    from nas.audit.analysis import truth_of
    from nas.audit.latencies import latencies
    from nas.cli.progress import phase
    from nas.runs.lock import lock

    settled = {key: found[key] for key in ("space", "data")} | {"image_size": supernet_run.image_size, "splits": supernet_run.seed}
    asked = {key: getattr(config, key) for key in ("architectures", "seeds", "steps", "batch_size", "long", "short", "sample_seed")}
    with ExitStack() as held:
        held.enter_context(open_run(config.bench, settled | asked | {"budget": str(budget)}, FREE))
        if config.folder != config.bench:
            config.folder.mkdir(exist_ok=True)
            held.enter_context(lock(config.folder))
        members = sample_of(config.bench / "sample", supernet_run.space, budget, config.architectures, config.sample_seed)
        # Before anything slow: this machine may lack the device.
        with phase("timing the sample", 1) as advance:
            milliseconds = latencies(config.bench / "latencies", members, target)
            advance()
        truth, short, longer = plan.truth(members), plan.short_ones(members), plan.long_ones(members)
        trainings = [*truth, *short, *longer]
        make_do = partial(training_alone, conditions)
        with (
            phase("stand-alone training", sum(training.steps for training in trainings)) as advance,
            open_workers(make_do, config.resources, config.bench / "ray") as workers,
        ):

            def on_result(training: Training, result: Trained) -> None:
                advance(training.steps, f"{training.steps} steps: {100 * result.score.accuracy:.1f} %")

            train_all(conditions, trainings, workers, on_result).check()
        results = {training: result for training in trainings if (result := conditions.result_of(training))}
        _report(config, supernet_run, truth_of(members, truth, longer, results), short, results, {str(target): milliseconds})


def _report(
    config: AuditConfig, supernet_run: SupernetRun, truth: Truth, short: Sequence[Training], results: Mapping[Training, Trained],
    milliseconds: Mapping[str, Sequence[float]],
) -> None:  # fmt: skip
    from nas.audit import predictors
    from nas.audit.analysis import examine
    from nas.audit.report import write_report
    from nas.audit.table import write_bench, write_page
    from nas.cli.progress import phase

    members, has_supernet = truth.members, supernet_run.weights_file.exists()
    with phase("scoring the sample", (3 if has_supernet else 1) * len(members)) as advance:
        of_supernet = predictors.of_supernet(supernet_run, members, advance) if has_supernet else []
        zero_cost = predictors.zero_cost(supernet_run, members, advance)
    of_short = predictors.of_short_trainings(short, results, members)
    together = predictors.with_supernet(of_supernet[0], of_short) if has_supernet else []
    if has_supernet:
        of_supernet.append(predictors.without_bias(of_supernet[0], truth.means, members))
    scored = [*of_supernet, *predictors.sizes(members), *predictors.latencies(milliseconds), *of_short, *together, *zero_cost]
    facts = _facts(config, supernet_run, results)
    for target in (config.folder, config.publish) if config.publish else (config.folder,):
        write_bench(target, config.bench / "sample", truth, scored, results, milliseconds)
    if config.publish:
        write_page(config.publish, facts, f"python -m nas.audit {shlex.join(config.command)}")
    of_operators = _of_operators(supernet_run, truth) if has_supernet else {}
    print(write_report(config.folder, truth, scored, examine(truth, scored), facts, of_operators))
    print(f"report: {config.folder / 'report.md'}")


def _facts(config: AuditConfig, supernet_run: SupernetRun, results: Mapping[Training, Trained]) -> dict[str, str]:
    """What the report is of, in words."""
    from supernet.training.checkpoint import load_checkpoint

    space, (images, splits) = supernet_run.space, supernet_run.images()
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
    from nas.audit.gradient_conflicts import gradient_cosines, mean_cosines
    from nas.audit.operator_bias import by_operator
    from supernet.data.batches import fixed_batch
    from supernet.training.checkpoint import load_checkpoint

    updates = by_operator(load_checkpoint(supernet_run.weights_file)[1].get("updates", {}))
    images, splits = supernet_run.images()
    contexts = [member.architecture for member in truth.members if member.part == "band"][:CONTEXTS]
    batch = fixed_batch(images, splits.train[:CONFLICT_IMAGES], supernet_run.image_size)
    supernet = load_evaluator(supernet_run).supernet.cpu().requires_grad_(True)
    cosines = mean_cosines(gradient_cosines(supernet, contexts, *batch))
    return {"mean gradient cosine with other mixers": cosines} | ({"updates": updates} if updates else {})


if __name__ == "__main__":
    sys.exit(main())
