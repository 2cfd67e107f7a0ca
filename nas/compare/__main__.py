"""`python -m nas.compare --run runs/x`: retrain a search's winner, published networks and random ones alike, and test them."""

from __future__ import annotations

import random
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.command import CommandParser, add_dry_run, exit_code_of, whole_number
from nas.cli.command_line import add_options
from nas.compare.config import CompareConfig
from nas.execution import OF_RAY, Workers, add_backend_arguments, check_backend, each_on
from nas.retrain.config import RecipeChoice

if TYPE_CHECKING:
    from rich.console import Console

    from nas.compare.comparison import Accuracies, Comparison, Contender
    from proxies.cost import Budget
    from space.architecture import Architecture
    from space.search_space import SearchSpace

FREE = frozenset({"seeds", "random", "others", "workers", "backend", "cpus_per_worker", *OF_RAY, "command", "dry_run"})
"""What may change when a comparison goes on: retrainings are added to those that are done."""
MAX_DRAWS = 1000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    config = _parse(argv)
    return exit_code_of(lambda: run(config), is_short=config.dry_run)


def _parse(argv: Sequence[str] | None) -> CompareConfig:
    parser = CommandParser(
        prog="python -m nas.compare",
        description="Retrain a search's winner, the published networks that fit its budget and random ones inside it, all alike, "
        "and compare their test accuracies.",
        epilog="Run the same command again to continue an interrupted comparison.",
    )
    parser.add_argument("others", nargs="*", metavar="architecture", help="more to compare: a YAML file, or a published network's name")
    parser.add_argument("--run", type=Path, required=True, help="directory of a search")
    parser.add_argument("--test-data", help="images to test on (the test part of the run's data, such as its val/)")
    add_options(parser, RecipeChoice)
    parser.add_argument("--seeds", type=whole_number(1), default=3, help="retrainings of each (%(default)s)")
    parser.add_argument("--random", type=whole_number(0), default=5, help="how many to draw at random inside the budget (%(default)s)")
    add_backend_arguments(parser, "retrainings")
    parser.add_argument("--latency-tables", type=Path, metavar="FOLDER", help="where measured latencies are kept (the user's cache)")
    parser.add_argument("--out", type=Path, help="the comparison's directory (RUN/comparison)")
    add_dry_run(parser)
    parsed = parser.parse_args(argv)
    check_backend(parser, parsed, (*OF_RAY, "cpus_per_worker"))
    command = ("nas.compare", *(sys.argv[1:] if argv is None else argv))
    arguments = vars(parsed) | {"architecture": None, "data": None, "image_size": None, "command": command}
    arguments["out"] = (arguments["out"] or arguments["run"] / "comparison").resolve()
    return CompareConfig(**arguments | {"others": tuple(arguments["others"])})


def run(config: CompareConfig) -> None:
    """Retrain as far as that is not done, then write and print the table."""
    from nas.cli.console import open_console
    from nas.cli.progress import phase
    from nas.compare.comparison import Comparison, compare
    from nas.runs.directory import open_run
    from supernet.data.images import DataError

    recipe = config.load()
    entry = _of_run(config.run) if config.run is not None else _of_architecture(config)
    comparison = Comparison(entry.data, config.test_data, recipe, entry.image_size, config.out)
    images, test_images = comparison.images()
    if test_images is None:
        raise DataError(f"{entry.data}: has no test part; expected --test-data, since no accuracy on other images is worth a table")
    resolved = {"data": comparison.data, "image_size": comparison.image_size, "recipe": recipe.model_dump()}
    data = f"{len(images)} images of {Path(images.source).name} to train and validate on, {len(test_images)} to test on"
    console = open_console()
    contenders = _contenders(console, config, entry)
    # A teacher that cannot teach this ends here, before the directory is that of such a comparison.
    _ = comparison.retraining(contenders[0].architecture, 0).teacher
    if config.dry_run:
        from nas.cli.plan import print_plan
        from nas.compare.plan import plan_comparison

        retrainings = [(one, comparison.retraining(one.architecture, seed)) for seed in range(config.seeds) for one in contenders]
        print_plan(console, plan_comparison(config, retrainings))
        return
    with open_run(config.out, asdict(config) | resolved, FREE):
        each = each_on(config.backend, Workers(config.workers, config.ray_address, config.cpus_per_worker, config.gpus_per_worker))
        console.print(f"{len(contenders)} networks, {config.seeds} seeds each, {recipe.epochs} epochs: {data}", soft_wrap=True)
        with phase("retraining", config.seeds * len(contenders)) as advance:
            rows = compare(
                comparison, contenders, config.seeds, each,
                lambda job, accuracy: advance(1, f"{job.contender.label}, seed {job.seed}: {accuracy:.1%}"),
            )  # fmt: skip
        _report(console, config, comparison, rows, entry.label, f"{data}, at {comparison.image_size} px")


@dataclass(frozen=True)
class _Entry:
    """What is compared with others, and under which conditions.

    Args:
        architecture: priced at its own image size, with the classes of the data.
        image_size: at which all train.
        space: from which random ones are drawn.
        seed: of these draws.
    """

    label: str
    architecture: Architecture
    data: str
    image_size: int
    budget: Budget
    space: SearchSpace | None = None
    seed: int = 0


def _of_run(run: Path) -> _Entry:
    from nas.runs.directory import RunError, config_of_run
    from nas.train.supernet_run import open_supernet_run
    from proxies.cost import parse_budget
    from space.files import load_architecture

    searched = config_of_run(run)
    if not (run / "best.yaml").exists():
        raise RunError(f"{run}: has no best.yaml; expected the directory of a search that has ended")
    supernet_run = open_supernet_run(run)
    space, budget = supernet_run.space, parse_budget(searched["budget"], searched["floor"])
    best = load_architecture(run / "best.yaml").replace(image_size=space.image_size, num_classes=space.num_classes, in_chans=space.in_chans)
    return _Entry("found", best, supernet_run.data, supernet_run.image_size, budget, space, supernet_run.seed)


def _of_architecture(config: CompareConfig) -> _Entry:
    from proxies.cost import Budget, parse_budget
    from proxies.macs import cost_of
    from space.files import load_architecture, load_provenance
    from supernet.data.images import open_images

    assert config.architecture is not None
    assert config.data is not None
    images = open_images(config.data)
    architecture = load_architecture(config.architecture).replace(num_classes=images.num_classes, in_chans=images.in_chans)
    found_within = load_provenance(config.architecture).get("budget")
    budget = parse_budget(found_within, 0.0) if isinstance(found_within, str) else Budget({"macs": cost_of(architecture).macs}, 0.0)
    image_size = config.image_size or images.default_image_size()
    return _Entry(architecture.name, architecture, config.data, image_size, budget)


def _contenders(console: Console, config: CompareConfig, entry: _Entry) -> list[Contender]:
    """The winner, others, published networks, random members of the band; every architecture once."""
    from nas.compare.comparison import Contender
    from nas.latency.limits import within_latencies
    from nas.runs.directory import RunError
    from proxies.band.architecture_band import ArchitectureBand
    from proxies.cost import without_latency
    from proxies.published import parents_within
    from space.files import load_architecture

    own, budget = entry.architecture, entry.budget
    alike = {"num_classes": own.num_classes, "in_chans": own.in_chans, "image_size": own.image_size}
    found = [(entry.label, own), *((Path(name).stem, load_architecture(name).replace(**alike)) for name in config.others)]
    found += [(parent.architecture.name, parent.architecture) for parent in parents_within(own, budget)]
    contenders: dict[str, Contender] = {}
    for label, architecture in found:
        contenders.setdefault(architecture.fingerprint, Contender(label, architecture))
    if entry.space is None or not config.random:
        return list(contenders.values())
    band = ArchitectureBand(entry.space, without_latency(budget))
    if budget.targets and not config.dry_run:
        band, _ = within_latencies(console, band, budget, config.latency_tables, entry.seed)
    rng = random.Random(f"{entry.seed} comparison")
    wanted = len(contenders) + config.random
    for _ in range(MAX_DRAWS):
        if len(contenders) == wanted:
            return list(contenders.values())
        drawn = band.draw(rng)
        label = f"random {1 + config.random - (wanted - len(contenders))}"
        contenders.setdefault(drawn.fingerprint, Contender(label, drawn, is_random=True))
    raise RunError(f"--random: got {config.random}, expected no more than there are architectures inside {budget}")


def _report(console: Console, config: CompareConfig, comparison: Comparison, rows: Sequence[Accuracies], label: str, data: str) -> None:
    from rich import box
    from rich.table import Table

    from nas.compare.comparison import table_of, write_comparison

    found = next(row for row in rows if row.contender.label == label)
    cells = table_of(rows, found)
    about = {
        "made by": f"`python -m {shlex.join(config.command)}`",
        "data": data,
        "cost": f"of an image of {found.contender.architecture.image_size} px",
        "recipe": f"{config.recipe}, {comparison.recipe.epochs} epochs, batches of {comparison.recipe.batch_size}, learning rate "
        f"{comparison.recipe.lr:g}",
        "spread": f"means over {config.seeds} seeds and leads in points, with 95 % intervals over seeds (Student, Welch)",
    }
    write_comparison(config.out, cells, rows, about)
    table = Table(title="Test accuracy, retrained alike", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, heading in enumerate(cells[0]):
        table.add_column(heading, justify="right" if place in (1, 2) else "left", no_wrap=True)
    for row in cells[1:]:
        table.add_row(*row)
    console.print(table)
    console.print(f"{about['spread']}.", soft_wrap=True)
    console.print(f"table: {config.out / 'comparison.md'}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
