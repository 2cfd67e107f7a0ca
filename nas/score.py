"""`python -m nas.score davit-t best.yaml`: zero-cost scores of untrained networks, a row a score, a column an architecture."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from nas.cli.command import Command
from nas.cli.data_option import DEFAULT, HELP, TargetChoice, source_named
from nas.cli.options import REQUIRED, option

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from nas.evaluators.zero_cost import ScoredArchitecture
    from proxies.zero_cost.registry import ZeroCostScore
    from space.architecture import Architecture
    from supernet.data.images import ImageSet

UNLIMITED = 10_000


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(TargetChoice):
    """What to score, and on which images; only training images are read."""

    architectures: tuple[str, ...] = option(
        REQUIRED, "a YAML file, or the name of a published network", is_positional=True, metavar="architecture"
    )
    scores: tuple[str, ...] = option((), "names of scores (all)", metavar="SCORE")
    data: str = option(DEFAULT, HELP, convert=source_named)
    batch_size: int = option(64, "images to score on", at_least=1)
    image_size: int | None = option(None, "side in pixels (the data's own)", at_least=32)
    seed: int = option(0, "of weights and of the choice of images")


main = Command(
    ScoreConfig,
    "nas.score:run",
    "Zero-cost scores: what an untrained network and one batch of images promise. Greater is better.",
    epilog="No such score is to be trusted alone.",
)


def run(config: ScoreConfig, console: Console) -> None:
    """Load everything first, so that mistakes are reported before the first score, and print the table."""
    from rich.console import Console

    from proxies.zero_cost.registry import SCORES, score_named
    from space.files import load_architecture
    from supernet.data.images import open_images
    from supernet.tasks.task import check_head, task_of_images

    scores = [score_named(name) for name in config.scores or SCORES]
    architectures = [load_architecture(name) for name in config.architectures]
    images = open_images(config.data, config.targets)
    for architecture in architectures:
        check_head("architecture", architecture, images)
    side = config.image_size or images.default_image_size()
    indices = _training_indices(config, images)
    of_data = {"num_classes": images.num_classes, "in_chans": images.in_chans}
    architectures = [architecture.replace(**of_data) for architecture in architectures]
    if config.dry_run:
        _plan(console, config, scores, architectures, side)
        return
    from nas.cli.progress import phase
    from nas.evaluators.zero_cost import score, training_batch

    batch, task = training_batch(images, indices, config.batch_size, side, config.seed), task_of_images(images)
    with phase("scoring", len(architectures) * len(scores), console) as advance:
        scored = [score(architecture, scores, *batch, task, config.seed, on_score=advance) for architecture in architectures]
    table = _table(scores, scored)
    # Names come from files: they may look like markup. A table wider than the screen is not cut off: numbers would be missing.
    console = Console(markup=False, highlight=False)
    console.width = max(console.width, console.measure(table, options=console.options.update(max_width=UNLIMITED)).maximum)
    console.print(f"Scores at {side}x{side} on {config.batch_size} images of {config.data}, seed {config.seed}; seconds beside each")
    console.print(table)


def _plan(console: Console, config: ScoreConfig, scores: Sequence[ZeroCostScore], architectures: Sequence[Architecture], side: int) -> None:
    from nas.cli.plan import Phase, Plan, memory_now, print_plan
    from nas.cli.workload import workload_of

    workload = workload_of(architectures, side)
    seconds = workload.training_seconds(len(scores) * len(architectures), config.batch_size)
    what = f"{len(architectures)} networks, {len(scores)} scores, {config.batch_size} images of {config.data} at {side} px"
    memory = {"in all": memory_now() + workload.training_bytes(config.batch_size)}
    print_plan(console, Plan((Phase("scoring", what, seconds),), memory))


def _training_indices(config: ScoreConfig, images: ImageSet) -> np.ndarray:
    from supernet.data.splits import split
    from supernet.data.unreadable import DataError

    train = split(images, config.seed).train
    if config.batch_size > len(train):
        raise DataError(f"--batch-size: got {config.batch_size}, expected at most the {len(train)} training images of {config.data}")
    return train


def _table(scores: Sequence[ZeroCostScore], scored: Sequence[ScoredArchitecture]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    for row in scored:
        table.add_column(row.name, justify="right", no_wrap=True)
        table.add_column("s", justify="right", no_wrap=True)
    for number, one in enumerate(scores):
        table.add_row(one.name, *chain.from_iterable((f"{row.values[number]:,.5g}", f"{row.seconds[number]:.2f}") for row in scored))
    return table


if __name__ == "__main__":
    sys.exit(main())
