"""A retraining from its config to its results."""

from __future__ import annotations

from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from nas.cli.data_option import print_data
from nas.cli.given_architecture import architecture_of, provenance_of
from nas.cli.progress import duration, phase
from nas.retrain.config import RetrainConfig
from nas.retrain.retrained import Retrained
from nas.retrain.retraining import Retraining
from nas.runs.directory import check_run, open_run_of_all
from nas.runs.records.data import write_data
from nas.runs.records.metadata import MeasuredFigure
from supernet.data.images import ImageSet, open_images, open_test_images
from supernet.tasks.task import check_head, task_of_images
from supernet.training.distributed import is_first


def run_retraining(
    config: RetrainConfig, console: Console, images: ImageSet | None = None, test_images: ImageSet | None = None
) -> Retrained | None:
    """Train, test and write the results; what an earlier run of the same config has finished is not done again. None for a dry run.

    Args:
        images, test_images: a caller's, open; by default the config names them.
    """
    retraining, resolved = _checked(config, console, images, test_images)
    if config.dry_run:
        from nas.cli.plan import print_plan
        from nas.retrain.plan import plan_retraining

        _introduce(console, config, retraining)
        print_plan(console, plan_retraining(retraining, config.minutes))
        return None
    with open_run_of_all(config.out, resolved, config.may_change()):
        if is_first():
            write_data(config.out, retraining.images, retraining.test_images)
        _introduce(console, config, retraining)
        with phase(f"training {retraining.architecture.name}", retraining.train_config.steps, console) as advance:
            seconds = None if config.minutes is None else 60 * config.minutes
            retrained = retraining.run(seconds, lambda step, note: advance(at=step, note=note))
    _show_results(console, retrained)
    return retrained


def _checked(
    config: RetrainConfig, console: Console, images: ImageSet | None, test_images: ImageSet | None
) -> tuple[Retraining, dict[str, Any]]:
    """The retraining, and the resolved config as the directory keeps it; UserError where it is impossible, or another run is there."""
    architecture = architecture_of(config.architecture)
    images = open_images(config.data, config.targets) if images is None else images
    check_head("architecture", architecture, images)
    recipe = config.load(task_of_images(images))
    # Opened now, so that a mistyped path or a damaged part does not cost a training; evaluated only at the end.
    test_images = open_test_images(images, config.test_data, images.class_names) if test_images is None else test_images
    image_size = config.image_size or images.default_image_size()
    resolved = config.values() | {"image_size": image_size, "recipe": recipe.model_dump(), "fingerprint": architecture.fingerprint}
    architecture = architecture.replace(num_classes=images.num_classes, in_chans=images.in_chans)
    retraining = Retraining(
        architecture, recipe, images, test_images, image_size, config.seed, config.origin, config.out,
        may_compile=config.may_compile, provenance=provenance_of(config.architecture), tracker=config.log,
    )  # fmt: skip
    check_run(config.out, resolved, config.may_change())
    retraining.check(partial(console.print, soft_wrap=True, highlight=False, markup=False), fetches=not config.dry_run)
    return retraining, resolved


def _introduce(console: Console, config: RetrainConfig, retraining: Retraining) -> None:
    def say(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False, markup=False)

    recipe = retraining.recipe
    test = f"{len(retraining.test_images)} to test" if retraining.test_images else "no test part"
    part = f"{len(retraining.splits.train)} images to train, {len(retraining.splits.search)} to validate, {test}"
    say(f"{config.data}: {retraining.images.num_classes} classes, {part}, at {retraining.image_size} px")
    print_data(console, retraining.images, retraining.splits, retraining.test_images)
    if not retraining.test_images:
        say(f"{config.data} has no test part and --test-data names none: the {retraining.task.metric} will be that of validation images")
    name, each = config.recipe_name(retraining.task), f"{retraining.batches.steps_per_epoch} steps an epoch"
    say(f"recipe {name}: {recipe.length}, {each}, batch size {recipe.batch_size}, learning rate {recipe.lr:g}")
    if recipe.teacher is not None:
        say(f"teacher: {recipe.teacher}, {recipe.distillation} distillation with weight {recipe.distillation_weight:g}")


def _show_results(console: Console, retrained: Retrained) -> None:
    def shown(found: MeasuredFigure) -> str:
        low, high = found.interval95
        return f"{found.value:.2%} of {found.images} images (95 %: {low:.2%} to {high:.2%})"

    facts, metric = retrained.facts, retrained.validation.metric
    table = Table("", "", title=retrained.architecture.name, show_header=False)
    table.add_row(f"test {metric}", shown(retrained.test) if retrained.test else "not measured: no test part")
    table.add_row(f"validation {metric}", shown(retrained.validation))
    ended = "" if facts["finished"] else f" of {facts['planned_steps']}, ended by --minutes"
    if best := facts.get("best"):
        table.add_row("best epoch", f"{best['epoch']}, with {metric} {best['value']:.2%} on validation images")
    table.add_row("training", f"{facts['steps']} steps{ended}, {duration(facts['seconds'])}")
    table.add_row("arithmetic", f"{facts['precision']} on {facts['device']}")
    if facts["skipped_steps"]:
        table.add_row("skipped steps", f"{facts['skipped_steps']} without a finite loss")
    table.add_row("parameters", f"{facts['params'] / 1e6:.2f} M")
    table.add_row("weights", str(retrained.weights_file))
    if best:
        table.add_row("weights of the best epoch", str(retrained.best_weights_file))
    console.print(table)
