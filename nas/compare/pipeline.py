"""A comparison from its config to its table."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from nas.cli.command_line import command_of
from nas.cli.console import table_of
from nas.cli.data_option import print_data
from nas.cli.given_architecture import architecture_of, name_of, provenance_of
from nas.cli.plan import print_plan
from nas.cli.progress import phase
from nas.compare.comparison import Contender, ContenderResult, EqualConditions, retrain_all, retrainer
from nas.compare.config import CompareConfig
from nas.compare.outputs import comparison_table, record_of, write_comparison
from nas.compare.plan import plan_comparison
from nas.execution.workers import open_workers
from nas.latency.tables import limited, tables_of_run
from nas.runs.directory import RunError, check_run, config_of_run, open_run
from nas.runs.records.comparison import write_comparison_record
from nas.runs.records.data import write_data
from nas.runs.records.role import Role, role_of
from nas.train.supernet_run import open_supernet_run
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget, parse_budget, without_latency
from proxies.macs import cost_of
from proxies.published import parents_within
from space.files import load_architecture
from supernet.data.images import ImageSet, open_images, open_test_images
from supernet.data.unreadable import DataError
from supernet.tasks.task import check_head, task_of_images

FOUND = "found"
"""What tables call the winner of the search that is compared."""
MAX_DRAWS = 1000


@dataclass(frozen=True)
class Compared:
    """What a comparison found.

    Args:
        folder: of `comparison.md` and `comparison.csv`.
        rows: test figures of every network by seed, best first.
        subject: the row of the network that was compared with the others.
    """

    folder: Path
    rows: tuple[ContenderResult, ...]
    subject: ContenderResult


def run_comparison(config: CompareConfig, console: Console, data: Any = None, test_data: Any = None) -> Compared | None:
    """Retrain as far as that is not done, then write and print the table; None for a dry run.

    Args:
        data, test_data: those of a caller; by default the config names them.
    """
    subject = _of_run(config.run, data) if config.run is not None else _of_architecture(config, data)
    images = subject.images
    recipe = config.load(task_of_images(images))
    test_images = open_test_images(images, config.test_data, images.class_names) if test_data is None else test_data
    if test_images is None:
        raise DataError(f"{images.source}: has no test part; expected --test-data, since no figure on other images is worth a table")
    conditions = EqualConditions(images, test_images, recipe, subject.image_size, config.out)
    resolved = config.values() | {
        "data": images.identity, "image_size": conditions.image_size, "recipe": recipe.model_dump(),
        "fingerprint": subject.contender.architecture.fingerprint,
    }  # fmt: skip
    # Mistakes end here, before the directory is taken.
    check_run(config.out, resolved, config.may_change())
    contenders = _labelled_apart(_contenders(config, subject))
    first = conditions.retraining(contenders[0], 0)
    first.check()
    print_data(console, images, first.splits, test_images)
    if config.dry_run:
        retrainings = [(one, conditions.retraining(one, seed)) for seed in range(config.seeds) for one in contenders]
        print_plan(console, plan_comparison(config, retrainings))
        return None
    about = f"{len(images)} images of {Path(images.source).name} to train and validate on, {len(test_images)} to test on"
    with open_run(config.out, resolved, config.may_change()):
        write_data(config.out, images, test_images)
        console.print(f"{len(contenders)} networks, {config.seeds} seeds each, {recipe.length}: {about}", soft_wrap=True)
        with (
            phase("retraining", config.seeds * len(contenders), console) as advance,
            open_workers(partial(retrainer, conditions), config.resources, config.out / "ray") as workers,
        ):
            rows = retrain_all(contenders, config.seeds, workers, lambda job, test: advance(1, f"{job}: {test.value:.1%}"))
        return _report(console, config, conditions, rows, subject, about)


@dataclass(frozen=True)
class _Subject:
    """What is compared with others, and under which conditions.

    Args:
        contender: its architecture is priced at its own image size, with the classes of the data.
        image_size: at which all train.
        band: from which random ones are drawn; none of an architecture alone.
        seed: of these draws.
    """

    contender: Contender
    images: ImageSet
    image_size: int
    budget: Budget
    band: ArchitectureBand | None = None
    seed: int = 0


def _of_run(run: Path, data: Any) -> _Subject:
    searched = config_of_run(run)
    if not (run / "best.yaml").exists():
        raise RunError(f"{run}: has no best.yaml; expected the directory of a search that has ended")
    supernet_run = open_supernet_run(run, data)
    space, budget = supernet_run.searched_space, parse_budget(searched["budget"], searched["floor"])
    alike = {"image_size": space.image_size, "num_classes": space.num_classes, "in_chans": space.in_chans}
    best = load_architecture(run / "best.yaml").replace(**alike)
    band = limited(ArchitectureBand(space, without_latency(budget)), budget, tables_of_run(run, space, budget))
    return _Subject(Contender(FOUND, best, Role.WINNER), supernet_run.images()[0], supernet_run.image_size, budget, band, searched["seed"])


def _of_architecture(config: CompareConfig, data: Any) -> _Subject:
    assert config.data is not None
    images = open_images(config.data if data is None else data, config.targets)
    check_head("architecture", architecture_of(config.subject), images)
    architecture = architecture_of(config.subject).replace(num_classes=images.num_classes, in_chans=images.in_chans)
    provenance = provenance_of(config.subject)
    found_within = provenance.get("budget")
    budget = parse_budget(found_within, 0.0) if isinstance(found_within, str) else Budget({"macs": cost_of(architecture).macs}, 0.0)
    contender = Contender(architecture.name, architecture, role_of(provenance))
    return _Subject(contender, images, config.image_size or images.default_image_size(), budget)


def _contenders(config: CompareConfig, subject: _Subject) -> list[Contender]:
    """The subject, others, published networks, random members of the band; every architecture once."""
    own, budget = subject.contender.architecture, subject.budget
    alike = {"num_classes": own.num_classes, "in_chans": own.in_chans, "image_size": own.image_size}
    parents = [Contender(one.architecture.name, one.architecture, Role.PARENT) for one in parents_within(own, budget)]
    given = [_given(one, alike) for one in config.others]
    contenders: dict[str, Contender] = {}
    for contender in (subject.contender, *given, *parents):
        contenders.setdefault(contender.architecture.fingerprint, contender)
    if subject.band is None or not config.random:
        return list(contenders.values())
    rng = random.Random(f"{subject.seed} comparison")
    wanted = len(contenders) + config.random
    for _ in range(MAX_DRAWS):
        if len(contenders) == wanted:
            return list(contenders.values())
        drawn = subject.band.draw(rng)
        label = f"random {1 + config.random - (wanted - len(contenders))}"
        contenders.setdefault(drawn.fingerprint, Contender(label, drawn, Role.RANDOM))
    raise RunError(f"--random: got {config.random}, expected no more than there are architectures inside {budget}")


def _given(value: Any, alike: Mapping[str, int]) -> Contender:
    """A contender that the user adds: a published network, or one without a role, whatever it was in its own search."""
    role = role_of(provenance_of(value))
    return Contender(Path(name_of(value)).stem, architecture_of(value).replace(**alike), role if role is Role.PARENT else Role.OTHER)


def _labelled_apart(contenders: Sequence[Contender]) -> list[Contender]:
    """The same, with a number behind a label that an earlier one has."""
    times = Counter[str]()
    apart = []
    for one in contenders:
        times[one.label] += 1
        apart.append(one if times[one.label] == 1 else replace(one, label=f"{one.label} ({times[one.label]})"))
    return apart


def _report(
    console: Console, config: CompareConfig, conditions: EqualConditions, rows: Sequence[ContenderResult], subject: _Subject, data: str
) -> Compared:
    # Another network may have the same name.
    found = next(row for row in rows if row.contender.architecture.fingerprint == subject.contender.architecture.fingerprint)
    metric = conditions.task.metric
    headings, cells = comparison_table(rows, found, metric)
    recipe = conditions.recipe
    how = f"{config.recipe_name(conditions.task)}, {recipe.length}, batches of {recipe.batch_size}, learning rate {recipe.lr:g}"
    over_seeds = f"means over {config.seeds} seeds and leads in points, with 95 % intervals over seeds (Student, Welch)"
    spread = over_seeds if config.seeds > 1 else "one seed, with 95 % intervals over images (Wilson); leads in points"
    about = {
        "made by": f"`{command_of('nas.compare', config)}`",
        "data": f"{data}, at {conditions.image_size} px",
        "cost": f"of an image of {found.contender.architecture.image_size} px",
        "recipe": how,
        "spread": spread,
    }
    write_comparison(config.out, headings, cells, rows, metric, about)
    write_comparison_record(config.out, record_of(conditions, rows))
    table = table_of(headings, f"Test {metric}, retrained alike", [heading for heading in headings if heading not in ("MFLOPs", "Mparams")])
    for row in cells:
        table.add_row(*row)
    console.print(table)
    console.print(f"{spread}.", soft_wrap=True)
    console.print(f"table: {config.out / 'comparison.md'}", soft_wrap=True)
    return Compared(config.out, tuple(rows), found)
