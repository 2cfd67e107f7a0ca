"""A supernet's training from its config to its weights; a search begins with one, too."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from nas.cli.screen import Screen
from nas.latency.limits import within_latencies
from nas.runs.directory import RunError, check_run, config_of_run, open_run_of_all
from nas.train.config import SupernetConfig, TrainingConfig
from nas.train.scopes import inside
from nas.train.supernet_run import SupernetRun
from nas.train.trained import TrainedSupernet
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget, parse_budget, without_latency
from space.files import load_space
from space.search_space import SearchSpace
from supernet.scope import Scope, whole
from supernet.training.distributed import num_processes
from supernet.training.engine import StepReport, TrainConfig, check_training


def run_training(config: TrainingConfig, console: Console, data: Any = None) -> TrainedSupernet | None:
    """Train to the end, or until the time is over, from an earlier run's last checkpoint on; None for a dry run.

    Args:
        data: a data set of the caller's, open or not; by default the config names it.
    """
    supernet_run, budget, band = _opened(config, data)
    # What cannot be ends here, before the directory is that of such a training.
    resolved = _checked(config, supernet_run)
    if config.dry_run:
        from nas.cli.plan import print_plan
        from nas.train.plan import plan_training

        targets = [] if band is None or budget is None else list(budget.targets.values())
        print_plan(console, plan_training(config, supernet_run, band, targets))
        return None
    if band is not None and budget is not None and budget.targets:
        if num_processes() > 1:
            raise RunError(f"--budget: got {config.budget} for {num_processes()} processes, which would measure other latencies each")
        band, _ = within_latencies(console, band, budget, config.latency_tables, config.seed)
    with open_run_of_all(config.out, resolved, config.may_change()):
        seconds = None if config.minutes is None else 60 * config.minutes
        has_search = "trials" in config_of_run(config.out)
        with Screen(console, ("supernet",)) as screen:
            facts = train_supernet(screen, config, scope_of(supernet_run.space, band), supernet_run, seconds, goes_on=not has_search)
    console.print(f"weights: {supernet_run.weights_file}; search them:", soft_wrap=True)
    limit = "..." if config.budget is None else f"'{config.budget}'"
    console.print(f"  {sys.executable} -m nas.search --budget {limit} --out {config.out} and the options given here", soft_wrap=True)
    return TrainedSupernet(supernet_run, facts)


def _opened(config: TrainingConfig, data: Any) -> tuple[SupernetRun, Budget | None, ArchitectureBand | None]:
    """The data, the budget, and the band to train in, without limits on latency; none for the whole space."""
    space = load_space(config.space)
    budget = None if config.budget is None else parse_budget(config.budget, config.floor)
    supernet_run = SupernetRun.on_data(config.out, space, config.data if data is None else data, config.image_size, config.seed)
    if budget is None or config.scope != "band":
        return supernet_run, budget, None
    return supernet_run, budget, ArchitectureBand(supernet_run.space, without_latency(budget))


def _checked(config: TrainingConfig, supernet_run: SupernetRun) -> dict[str, Any]:
    """The resolved config, as the run's directory keeps it; UserError where it cannot be, or not there."""
    resolved = config.values() | {"image_size": supernet_run.image_size}
    if config.budget is None:
        # A search in this directory may set them.
        del resolved["budget"], resolved["floor"]
    check_run(config.out, resolved, config.may_change())
    check_training(config.batch_size, _train_config(config))
    check_warm_start(config, supernet_run)
    return resolved


def check_warm_start(config: SupernetConfig, supernet_run: SupernetRun) -> None:
    """UserError where a training that is to begin would begin with weights that cannot be read."""
    if config.warm_start and not supernet_run.has_begun:
        from nas.train.warm_start import trained_networks

        trained_networks(config.warm_start)


def scope_of(space: SearchSpace, band: ArchitectureBand | None) -> Scope:
    """A band, or where there is none the whole space."""
    return whole(space) if band is None else inside(band)


def train_supernet(
    screen: Screen, config: SupernetConfig, scope: Scope, supernet_run: SupernetRun, max_seconds: float | None, goes_on: bool = False
) -> Mapping[str, Any]:
    """Train with progress, and say how it went; `goes_on` and what comes back are as of `SupernetRun.train`."""
    from nas.cli.progress import phase
    from nas.train.view import training_view
    from supernet.network import Supernet

    def begin(supernet: Supernet) -> None:
        if not config.warm_start:
            return
        from nas.train.warm_start import warm_start

        for line in warm_start(supernet, config.warm_start):
            console.print(line, soft_wrap=True)

    console, losses = screen.console, dict[int, float]()
    screen.reach("supernet", lambda width, height: training_view(losses, width, height))
    with phase("supernet training", config.steps, console) as advance:

        def on_step(report: StepReport) -> None:
            losses[report.step] = report.loss
            advance(at=report.step, note=f"loss {report.loss:.2f}")

        facts = supernet_run.train(scope, config.paths, _train_config(config), config.batch_size, max_seconds, begin, on_step, goes_on)
    ended = "" if facts["finished"] else f" of {config.steps}, the time was over"
    skipped = f", {facts['skipped']} steps skipped for a loss that was not finite" if facts["skipped"] else ""
    console.print(f"supernet: {facts['steps']} steps{ended}, {facts['seconds']} s in {facts['precision']} on {facts['device']}{skipped}")
    return facts


def _train_config(config: SupernetConfig) -> TrainConfig:
    return TrainConfig(steps=config.steps, lr=config.lr, warmup_steps=config.steps // 20, label_smoothing=0.0, seed=config.seed)
