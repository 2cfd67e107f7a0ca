"""`python -m nas.retrain best.yaml --data ...`: train an architecture as a network of its own and measure it on test images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.command import DATA_HELP, CommandParser, add_dry_run, exit_code_of, number, whole_number
from nas.compare import __main__ as compare
from nas.compare.config import CompareConfig
from nas.execution import OF_RAY, add_backend_arguments, check_backend
from nas.retrain.arguments import RecipeChoice, add_recipe_arguments

if TYPE_CHECKING:
    from nas.retrain.recipe import Recipe
    from nas.retrain.retraining import Accuracy, Retraining

BESIDE = Path()
FREE = frozenset({"minutes", "dry_run"})
"""What may change when a run continues."""


@dataclass(frozen=True)
class RetrainConfig(RecipeChoice):
    """Everything that a retraining depends on.

    Args:
        architecture: the YAML file, or a published network's name.
        data: as `supernet.data.images.open_images` reads it.
        test_data: likewise; by default the test part of `data`.
        image_size: side in pixels; by default the data's own.
        minutes: when training ends at the latest, that of earlier runs included.
        inherit: weights to begin with, a safetensors file of this architecture's network.
        out: the run's directory.
        dry_run: say what would be done, and do none of it.
    """

    architecture: Path
    data: str
    test_data: str | None
    image_size: int | None
    minutes: float | None
    inherit: Path | None
    out: Path
    seed: int
    dry_run: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    config = _parse(argv)
    if isinstance(config, CompareConfig):
        return exit_code_of(lambda: compare.run(config), is_short=config.dry_run)
    return exit_code_of(lambda: run(config), is_short=config.dry_run, on_several_gpus=True)


def _parse(argv: Sequence[str] | None) -> RetrainConfig | CompareConfig:
    parser = CommandParser(
        prog="python -m nas.retrain",
        description="Train an architecture as a network of its own, and measure it on test images.",
        epilog="Run the same command again to continue an interrupted training.",
    )
    parser.add_argument("architecture", type=Path, help="YAML file, such as a search's best.yaml, or a published network's name")
    parser.add_argument("--data", default="digits", help=DATA_HELP)
    parser.add_argument("--test-data", help="images to test on, likewise (the test part of --data, such as its val/)")
    add_recipe_arguments(parser)
    parser.add_argument("--image-size", type=whole_number(32), help="side in pixels (the data's own)")
    parser.add_argument("--minutes", type=number(0, 1e6), help="end training after this time at the latest")
    parser.add_argument("--inherit", type=Path, nargs="?", const=BESIDE, metavar="FILE",
                        help="begin with the supernet's weights: a safetensors file, by default the one beside the YAML")  # fmt: skip
    parser.add_argument("--out", type=Path, help="the run's directory (runs/retrain-ARCHITECTURE)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, data order and augmentation (%(default)s)")
    comparing = parser.add_argument_group("comparing", "retrain the published networks that fit its budget alike, with several seeds each")
    comparing.add_argument("--against", choices=("parents",), help="whom to compare it with, as nas.compare does")
    comparing.add_argument("--seeds", type=whole_number(1), default=3, help="retrainings of each (%(default)s)")
    add_backend_arguments(comparing, "retrainings")
    add_dry_run(parser)
    arguments = parser.parse_args(argv)
    of_one, of_several = ("minutes", "inherit", "seed"), ("seeds", "workers", "backend", "cpus_per_worker", *OF_RAY)
    idle = [name for name in (of_one if arguments.against else of_several) if getattr(arguments, name) != parser.get_default(name)]
    if idle:
        parser.error(f"--{idle[0].replace('_', '-')}: {'not with' if arguments.against else 'needs'} --against parents")
    if arguments.against:
        check_backend(parser, arguments, (*OF_RAY, "cpus_per_worker"))
        return _comparison(arguments, ("nas.retrain", *(sys.argv[1:] if argv is None else argv)))
    for name in ("against", *of_several):
        delattr(arguments, name)
    if arguments.inherit == BESIDE:
        arguments.inherit = arguments.architecture.with_suffix(".safetensors")
    if arguments.out is None:
        arguments.out = Path("runs") / f"retrain-{arguments.architecture.stem}"
    arguments.out = arguments.out.absolute()
    return RetrainConfig(**vars(arguments))


def _comparison(arguments: argparse.Namespace, command: tuple[str, ...]) -> CompareConfig:
    given = {name: value for name, value in vars(arguments).items() if name not in ("against", "minutes", "inherit", "seed")}
    out = arguments.out or Path("runs") / f"{arguments.architecture.stem}-against-parents"
    if Path(arguments.data).exists():
        # Workers do not share this process's working directory.
        given["data"] = str(Path(arguments.data).resolve())
    unused = {"run": None, "others": (), "random": 0, "latency_tables": None}
    return CompareConfig(**given | unused | {"out": out.absolute(), "command": command})


def run(config: RetrainConfig) -> None:
    """Train, test, write the results; what an earlier run of the same config finished is not done again."""
    from dataclasses import asdict

    from nas.cli.progress import phase
    from nas.retrain.retraining import Retraining
    from nas.runs.directory import open_run_of_all
    from space.files import load_architecture
    from supernet.data.images import open_images, open_test_images

    architecture = load_architecture(config.architecture)
    recipe = config.load()
    images = open_images(config.data)
    # Opened now so that a mistyped path does not cost a training; read at the end only.
    test_images = open_test_images(config.data, config.test_data, images.class_names)
    image_size = config.image_size or images.default_image_size()
    resolved = {"image_size": image_size, "recipe": recipe.model_dump(), "fingerprint": architecture.fingerprint}
    architecture = architecture.replace(num_classes=images.num_classes, in_chans=images.in_chans)
    retraining = Retraining(architecture, recipe, images, test_images, image_size, config.seed, config.inherit, config.out)
    # A teacher that cannot teach this ends here, before the directory is that of such a run.
    _ = retraining.teacher
    if config.dry_run:
        from nas.cli.console import open_console
        from nas.cli.plan import print_plan
        from nas.retrain.plan import plan_retraining

        _introduce(config, recipe, retraining)
        print_plan(open_console(), plan_retraining(retraining, config.minutes))
        return
    with open_run_of_all(config.out, asdict(config) | resolved, FREE):
        _introduce(config, recipe, retraining)
        with phase(f"training {architecture.name}", retraining.train_config.steps) as advance:
            seconds = None if config.minutes is None else 60 * config.minutes
            results = retraining.run(seconds, lambda step, note: advance(at=step, note=note))
        _conclude(config, retraining, results)


def _introduce(config: RetrainConfig, recipe: Recipe, retraining: Retraining) -> None:
    test = f"{len(retraining.test_images)} to test" if retraining.test_images else "no test part"
    part = f"{len(retraining.splits.train)} images to train, {len(retraining.splits.search)} to validate, {test}"
    print(f"{config.data}: {retraining.images.num_classes} classes, {part}, at {retraining.image_size} px")
    if not retraining.test_images:
        print(f"{config.data} has no test part and --test-data names none: the accuracy will be that of validation images")
    epochs = f"{recipe.epochs} epochs of {retraining.batches.steps_per_epoch} steps"
    print(f"recipe {config.recipe}: {epochs}, batch size {recipe.batch_size}, learning rate {recipe.lr:g}", flush=True)
    if recipe.teacher is not None:
        print(f"teacher: {recipe.teacher}, {recipe.distillation} distillation with weight {recipe.distillation_weight:g}", flush=True)


def _conclude(config: RetrainConfig, retraining: Retraining, results: dict) -> None:
    from rich.console import Console
    from rich.table import Table

    from nas.cli.progress import duration

    def shown(accuracy: Accuracy) -> str:
        low, high = accuracy["interval95"]
        return f"{accuracy['accuracy']:.2%} of {accuracy['images']} images (95 %: {low:.2%} to {high:.2%})"

    table = Table("", "", title=retraining.architecture.name, show_header=False)
    table.add_row("test accuracy", shown(results["test"]) if results["test"] else "not measured: no test part")
    table.add_row("validation accuracy", shown(results["validation"]))
    ended = "" if results["finished"] else f" of {results['planned_steps']}, ended by --minutes"
    if best := results.get("best"):
        table.add_row("best epoch", f"{best['epoch']}, with {best['validation_accuracy']:.2%} of validation images")
    table.add_row("training", f"{results['steps']} steps{ended}, {duration(results['seconds'])}")
    table.add_row("arithmetic", f"{results['precision']} on {results['device']}")
    if results["skipped_steps"]:
        table.add_row("skipped steps", f"{results['skipped_steps']} without a finite loss")
    table.add_row("parameters", f"{results['params'] / 1e6:.2f} M")
    table.add_row("weights", str(config.out / "weights.safetensors"))
    if best:
        table.add_row("weights of the best epoch", str(config.out / "best.safetensors"))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
