"""`python -m nas.train --budget 4.5GFLOPs --paths fair`: train a supernet alone; a search in the same run directory goes on from there."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.command import DATA_HELP, CommandParser, add_dry_run, exit_code_of, number, whole_number
from nas.train.config import SupernetConfig, TrainingConfig

if TYPE_CHECKING:
    from nas.cli.screen import Screen
    from nas.train.supernet_run import SupernetRun
    from proxies.band.architecture_band import ArchitectureBand
    from space.search_space import SearchSpace
    from supernet.scope import Scope

PATHS = ("uniform", "fair", "sandwich")
SCOPES = ("space", "band")
DEFAULT_FLOOR = 0.9
Group = argparse._ArgumentGroup
FREE = frozenset({"minutes", "latency_tables", "dry_run"})
"""What may change when a run continues."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    config = _parse(argv)
    return exit_code_of(lambda: run(config), is_short=config.dry_run, on_several_gpus=True)


def _parse(argv: Sequence[str] | None) -> TrainingConfig:
    parser = CommandParser(
        prog="python -m nas.train",
        description="Train a weight-sharing supernet; nas.search with the same options then searches it.",
        epilog="Run the same command again to continue an interrupted training.",
    )
    add_supernet_arguments(parser)
    add_dry_run(parser)
    arguments = parser.parse_args(argv)
    if arguments.scope == "band" and arguments.budget is None:
        parser.error("argument --budget: missing, expected one such as 4.5GFLOPs, since --scope band needs it")
    if arguments.floor is None:
        arguments.floor = DEFAULT_FLOOR
    resolve(arguments)
    return TrainingConfig(**vars(arguments))


def add_supernet_arguments(parser: CommandParser, budget_is_required: bool = False) -> tuple[Group, Group, Group]:
    """Add what `SupernetConfig` holds, and the budget; the groups of what, how and where."""
    what = parser.add_argument_group("what")
    what.add_argument("--budget", required=budget_is_required, help="hard limit: 4.5GFLOPs, 25Mparams, 12ms@cpu, or several, quoted")
    what.add_argument("--space", default="hybrid-224", help="hybrid-224, hybrid-32 or a YAML file (%(default)s)")
    what.add_argument("--floor", type=number(0, 1), help="least share of the budget to use (0.9; with several objectives 0)")
    what.add_argument("--data", default="digits", help=DATA_HELP)
    what.add_argument("--image-size", type=whole_number(32), help="side in pixels for training and judging the supernet (the data's own)")
    how = parser.add_argument_group("how long and how")
    how.add_argument("--minutes", type=number(0, 1e6), help="end after this time at the latest; in a search, half of it goes to training")
    how.add_argument("--steps", type=whole_number(1), default=250, help="steps of supernet training (%(default)s)")
    how.add_argument("--batch-size", type=whole_number(2), default=64, help="images a step (%(default)s)")
    how.add_argument("--lr", type=number(0, 10), default=1e-3, help="peak learning rate (%(default)s)")
    how.add_argument("--paths", choices=PATHS, default=PATHS[0], help="what a step of supernet training runs (%(default)s)")
    how.add_argument("--scope", choices=SCOPES, default=SCOPES[0], help="train in the whole space or in the budget's band (%(default)s)")
    how.add_argument("--warm-start", nargs="+", type=_source, default=[], metavar="NAME=FILE",
                     help="begin with published networks' weights: davit-t=weights.safetensors uniformer-s=...")  # fmt: skip
    how.add_argument("--seed", type=int, default=0, help="of weights, data order, paths and proposals (%(default)s)")
    where = parser.add_argument_group("where")
    where.add_argument("--out", type=Path, help="the run's directory (runs/SPACE-BUDGET-DATA)")
    where.add_argument("--latency-tables", type=Path, metavar="FOLDER", help="where measured latencies are kept (the user's cache)")
    return what, how, where


def _source(text: str) -> str:
    name, sign, file = text.partition("=")
    if not (name and sign and file):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected NAME=FILE, such as davit-t=weights.safetensors")
    return f"{name}={Path(file).resolve()}"


def resolve(arguments: argparse.Namespace) -> None:
    """Name the run's directory, and make paths absolute: workers do not share this process's working directory."""
    if arguments.out is None:
        name = "-".join((Path(arguments.space).stem, arguments.budget or arguments.scope, Path(arguments.data).stem))
        arguments.out = Path("runs") / re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")
    arguments.out = arguments.out.resolve()
    arguments.warm_start = tuple(arguments.warm_start)
    if Path(arguments.data).exists():
        arguments.data = str(Path(arguments.data).resolve())


def run(config: TrainingConfig) -> None:
    """Train to the end, from an earlier run's last checkpoint on."""
    from proxies.cost import parse_budget
    from space.files import load_space

    space = load_space(config.space)
    budget = None if config.budget is None else parse_budget(config.budget, config.floor)

    from rich.console import Console

    from nas.cli.screen import Screen
    from nas.latency.limits import within_latencies
    from nas.runs.directory import RunError, config_of_run, open_run_of_all
    from nas.train.supernet_run import SupernetRun
    from proxies.band.architecture_band import ArchitectureBand
    from proxies.cost import without_latency
    from supernet.training.distributed import num_processes

    console = Console()
    supernet_run = SupernetRun.on_data(config.out, space, config.data, config.image_size, config.seed)
    space, band = supernet_run.space, None
    if budget is not None and config.scope == "band":
        band = ArchitectureBand(space, without_latency(budget))
        if budget.targets and not config.dry_run:
            if num_processes() > 1:
                raise RunError(f"--budget: got {config.budget} for {num_processes()} processes, which would measure other latencies each")
            band, _ = within_latencies(console, band, budget, config.latency_tables, config.seed)
    if config.dry_run:
        from nas.cli.plan import print_plan
        from nas.train.plan import plan_training

        targets = [] if band is None or budget is None else list(budget.targets.values())
        print_plan(console, plan_training(config, supernet_run, band, targets))
        return
    resolved = asdict(config) | {"image_size": supernet_run.image_size}
    if budget is None:
        # A search in this directory may set them.
        del resolved["budget"], resolved["floor"]
    with open_run_of_all(config.out, resolved, FREE):
        seconds = None if config.minutes is None else 60 * config.minutes
        has_search = "trials" in config_of_run(config.out)
        with Screen(console, ("supernet",)) as screen:
            train_supernet(screen, config, scope_of(space, band), supernet_run, seconds, goes_on=not has_search)
    console.print(f"weights: {supernet_run.weights_file}; search them:", soft_wrap=True)
    limit = "..." if config.budget is None else f"'{config.budget}'"
    console.print(f"  {sys.executable} -m nas.search --budget {limit} --out {config.out} and the options given here", soft_wrap=True)


def scope_of(space: SearchSpace, band: ArchitectureBand | None) -> Scope:
    """A band, or where there is none the whole space."""
    from nas.train.scopes import inside
    from supernet.scope import whole

    return whole(space) if band is None else inside(band)


def train_supernet(
    screen: Screen, config: SupernetConfig, scope: Scope, supernet_run: SupernetRun, max_seconds: float | None, goes_on: bool = False
) -> None:
    """Train with progress, and say how it went; `goes_on` as of `SupernetRun.train`."""
    from nas.cli.progress import phase
    from nas.train.view import training_view
    from nas.train.warm_start import warm_start
    from supernet.network import Supernet
    from supernet.training.engine import StepReport, TrainConfig

    def begin(supernet: Supernet) -> None:
        for line in warm_start(supernet, config.warm_start):
            console.print(line, soft_wrap=True)

    training = TrainConfig(steps=config.steps, lr=config.lr, warmup_steps=config.steps // 20, label_smoothing=0.0, seed=config.seed)
    console, losses = screen.console, dict[int, float]()
    screen.reach("supernet", lambda width, height: training_view(losses, width, height))
    with phase("supernet training", config.steps, console) as advance:

        def on_step(report: StepReport) -> None:
            losses[report.step] = report.loss
            advance(at=report.step, note=f"loss {report.loss:.2f}")

        facts = supernet_run.train(scope, config.paths, training, config.batch_size, max_seconds, begin, on_step, goes_on)
    ended = "" if facts["finished"] else f" of {config.steps}, the time was over"
    skipped = f", {facts['skipped']} steps skipped for a loss that was not finite" if facts["skipped"] else ""
    console.print(f"supernet: {facts['steps']} steps{ended}, {facts['seconds']} s in {facts['precision']} on {facts['device']}{skipped}")


if __name__ == "__main__":
    sys.exit(main())
