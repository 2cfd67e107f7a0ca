"""A supernet's training from its config to its weights, alone or at the start of a search."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rich.console import Console

from nas.cli.console import print_command
from nas.cli.data_option import print_data
from nas.cli.progress import phase
from nas.cli.screen import Screen
from nas.cli.trackers.scalars import Scalars
from nas.latency.tables import within_latencies
from nas.runs.directory import RunError, check_run, config_of_run, open_run_of_all
from nas.runs.records.data import write_data
from nas.train.config import SupernetConfig, TrainingConfig
from nas.train.domain import sampling_domain
from nas.train.supernet_run import SupernetRun, TrainedSupernet
from nas.train.view import training_view
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget, parse_budget, without_latency
from space.files import load_space
from space.network import TokenMixerNet
from space.pretrained.fetching import find_weights
from space.pretrained.loading import load_named, load_pretrained
from supernet.network import Supernet
from supernet.path_training import PathTraining
from supernet.paths import strategy
from supernet.teachers import Teachers
from supernet.training.checkpoint import load_checkpoint, save_checkpoint
from supernet.training.checkpointer import remove_checkpoint
from supernet.training.config import TrainConfig, check_training
from supernet.training.distributed import is_first, num_processes, own_device
from supernet.training.loop import train_network
from supernet.training.step import StepReport
from supernet.warm_start import report, warm_start

WARMUP, INHERITED_WARMUP = 20, 5
"""The learning rate rises over one so-manieth of the steps: from random weights, and with inherited ones."""


def run_training(config: TrainingConfig, console: Console, data: Any = None) -> TrainedSupernet | None:
    """`train_run` and how to search what it trained."""
    trained = train_run(config, console, data)
    if trained is not None:
        console.print(f"weights: {trained.run.weights_file}; search them:", soft_wrap=True)
        limit = "..." if config.budget is None else config.budget
        print_command(console, (sys.executable, "-m", "nas.search", "--budget", limit, "--out", str(config.out)))
        console.print("and the options given here")
    return trained


def train_run(config: TrainingConfig, console: Console, data: Any = None) -> TrainedSupernet | None:
    """Train to the end or until the time is over, from the last checkpoint where there is one; None for a dry run.

    Args:
        data: a caller's data set, open or not; by default the config names it.
    """
    supernet_run, budget, band = open_training(config, data)
    # What cannot be trained is refused before a directory is made for it.
    resolved = _checked(config, supernet_run, console)
    print_data(console, *supernet_run.images())
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
        if is_first():
            write_data(config.out, supernet_run.images()[0])
        seconds = None if config.minutes is None else 60 * config.minutes
        has_search = "trials" in config_of_run(config.out)
        with Screen(console, ("supernet",)) as screen:
            facts = train_supernet(screen, config, supernet_run, band, seconds, continues_ended=not has_search)
    return TrainedSupernet(supernet_run, facts)


def check_warm_start(config: SupernetConfig, supernet_run: SupernetRun, console: Console) -> None:
    """Find the weights that a training would begin with, and say where they are from; a dry run fetches none.

    UserError where they cannot be found or read, or a network cannot teach.
    """
    if not config.warm_start or supernet_run.weights_file.exists():
        return
    say = partial(console.print, soft_wrap=True, highlight=False, markup=False)
    networks = []
    for wanted in config.initial_weights:
        file = find_weights(wanted, config.weights_folder, say, fetches=not config.dry_run)
        if file is not None:
            networks.append(load_pretrained(wanted.name, file, say))
    _teachers(config, supernet_run, networks)


def _teachers(config: SupernetConfig, supernet_run: SupernetRun, networks: Sequence[TokenMixerNet]) -> Teachers | None:
    if not config.teacher or not networks:
        return None
    if not supernet_run.task.per_image:
        raise RunError(f"--teacher: got a space for {supernet_run.task.name}, expected one that gives one answer an image")
    return Teachers(networks, supernet_run.space.num_classes, supernet_run.space.in_chans, supernet_run.image_size)


def train_supernet(
    screen: Screen,
    config: SupernetConfig,
    supernet_run: SupernetRun,
    band: ArchitectureBand | None,
    max_seconds: float | None,
    continues_ended: bool = False,
) -> Mapping[str, Any]:
    """Train with progress from the last checkpoint, unless an earlier run has finished, and print how it went.

    Args:
        band: where paths are sampled; none for the whole space.
        continues_ended: whether a training that its time limit ended is continued, now and later. Not where a search has begun, which
            has scored architectures with the weights of that time.

    Returns:
        Facts of the training: steps, seconds, precision, skipped steps, whether it ran to its end, updates by operator.
    """
    console, losses = screen.console, dict[int, float]()
    screen.reach("supernet", lambda width, height: training_view(losses, width, height))
    with phase("supernet training", config.steps, console) as advance:
        facts = _facts_of_weights(supernet_run, continues_ended)
        if facts is None:
            with Scalars(supernet_run.folder, config.steps, config.batch_size, config.log) as scalars:

                def on_step(report: StepReport) -> None:
                    scalars.follow(report)
                    losses[report.step] = report.loss
                    advance(at=report.step, note=f"loss {report.loss:.2f}")

                facts = _train(config, supernet_run, band, max_seconds, console, on_step, scalars.flush)
        if facts["finished"] or not continues_ended:
            remove_checkpoint(supernet_run.checkpoint_file)
    ended = "" if facts["finished"] else f" of {config.steps}, the time was over"
    skipped = f", {facts['skipped']} steps skipped for a loss that was not finite" if facts["skipped"] else ""
    console.print(f"supernet: {facts['steps']} steps{ended}, {facts['seconds']} s in {facts['precision']} on {facts['device']}{skipped}")
    return facts


def open_training(config: TrainingConfig, data: Any) -> tuple[SupernetRun, Budget | None, ArchitectureBand | None]:
    """The data, the budget, and the band to train in, without limits on latency; no band for the whole space."""
    space = load_space(config.space)
    budget = None if config.budget is None else parse_budget(config.budget, config.floor)
    source = config.data if data is None else data
    supernet_run = SupernetRun.on_data(config.out, space, source, config.image_size, config.seed, config.targets, config.narrowings)
    if budget is None or config.scope != "band":
        return supernet_run, budget, None
    return supernet_run, budget, ArchitectureBand(supernet_run.space, without_latency(budget))


def _checked(config: TrainingConfig, supernet_run: SupernetRun, console: Console) -> dict[str, Any]:
    """The resolved config, as the run's directory keeps it; UserError where it is impossible, or the directory holds another run."""
    resolved = config.values() | {"image_size": supernet_run.image_size}
    if config.budget is None:
        # A search in this directory may set them.
        del resolved["budget"], resolved["floor"]
    check_run(config.out, resolved, config.may_change())
    check_training(config.batch_size, _train_config(config))
    check_warm_start(config, supernet_run, console)
    return resolved


def _facts_of_weights(supernet_run: SupernetRun, continues_ended: bool) -> Mapping[str, Any] | None:
    """The facts of an earlier run's weights; none where there is something left to train."""
    if not supernet_run.weights_file.exists():
        return None
    facts = load_checkpoint(supernet_run.weights_file)[1]
    is_left = continues_ended and not facts["finished"] and supernet_run.checkpoint_file.exists()
    return None if is_left else facts


def _train(
    config: SupernetConfig,
    supernet_run: SupernetRun,
    band: ArchitectureBand | None,
    max_seconds: float | None,
    console: Console,
    on_step: Callable[[StepReport], None],
    on_save: Callable[[], None],
) -> Mapping[str, Any]:
    images, splits = supernet_run.images()
    supernet = Supernet(supernet_run.space, supernet_run.seed)
    networks = [load_named(wanted, config.weights_folder) for wanted in config.initial_weights]
    inherited = warm_start(supernet, networks)
    if networks and not supernet_run.checkpoint_file.exists():
        for line in report(supernet.space, dict(supernet.shared.items()), inherited):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
    names = {name for one in inherited for name in one.slices}
    if config.freeze_stem:
        for name in names:
            if name.startswith("stem/"):
                supernet.shared[name].requires_grad_(False)
    teachers = _teachers(config, supernet_run, networks)
    training = PathTraining(supernet, strategy(config.paths), sampling_domain(supernet_run.space, band), supernet_run.seed, teachers)
    state = train_network(
        training,
        training,
        supernet_run.task.training_batches(images, splits.train, config.batch_size, supernet_run.image_size, supernet_run.seed),
        _train_config(config),
        slices=training.slices,
        lr_scales={f"supernet.shared.{name}": config.inherited_lr for name in names},
        checkpoint=supernet_run.checkpoint_file,
        max_seconds=max_seconds,
        on_step=on_step,
        on_save=on_save,
    )
    done = state.counters
    facts = {"steps": done.step, "finished": state.finished, "skipped": done.skipped, "seconds": round(done.seconds, 1),
             "precision": done.precision, "device": str(own_device()), "paths": config.paths, "updates": training.updates}  # fmt: skip
    if is_first():
        save_checkpoint(supernet_run.weights_file, dict(supernet.shared.items()), facts)
    return facts


def _train_config(config: SupernetConfig) -> TrainConfig:
    # Beside inherited weights, new ones send large gradients back at first.
    warmup_steps = config.steps // (WARMUP if not config.warm_start else INHERITED_WARMUP)
    return TrainConfig(steps=config.steps, lr=config.lr, warmup_steps=warmup_steps, label_smoothing=0.0, seed=config.seed)
