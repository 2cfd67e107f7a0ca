"""`python -m nas.search --budget 4.5GFLOPs`: train a supernet, search it inside the budget, export the winner."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.command import CommandParser, exit_code_of, number, whole_number

if TYPE_CHECKING:
    from rich.console import Console

    from nas.backends import Stop
    from nas.study import ArchitectureStudy, Result
    from proxies.band import Band

SAMPLERS = ("evolution", "random")
BACKENDS = ("local", "ray")
FREE = frozenset({"trials", "minutes", "backend", "workers", "ray_address", "keep"})
"""What may change when a run continues: none of it decides what a trial scores."""


@dataclass(frozen=True)
class SearchConfig:
    """Everything that a search depends on.

    Args:
        space: name of a search space, or a YAML file.
        budget: as `proxies.cost.parse_budget` reads it, counted at the space's image size.
        floor: least share of the budget to use.
        data: as `supernet.data.open_images` reads it; a search sees its training part alone.
        image_size: side in pixels at which the supernet is trained and judged; by default the data's own.
        out: the run's directory.
        trials: architectures to evaluate in all.
        minutes: when to end at the latest, counted from the start; training the supernet takes half of it at most.
        steps, batch_size, lr: of the supernet's training.
        storage: URL of the study; by default SQLite in the run's directory.
        keep: architectures to write, the winner included.
    """

    space: str
    budget: str
    floor: float
    data: str
    image_size: int | None
    out: Path
    seed: int
    trials: int
    minutes: float | None
    sampler: str
    steps: int
    batch_size: int
    lr: float
    backend: str
    workers: int
    ray_address: str | None
    storage: str | None
    keep: int

    @property
    def storage_url(self) -> str:
        """Where the study lives."""
        return self.storage or f"sqlite:///{self.out / 'study.db'}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    config = _parse(argv)
    return exit_code_of(lambda: run(config))


def _parse(argv: Sequence[str] | None) -> SearchConfig:
    parser = CommandParser(
        prog="python -m nas.search",
        description="Train a weight-sharing supernet, search it for the best architecture inside a budget, and write that as YAML.",
        epilog="Run the same command again to continue an interrupted search.",
    )
    what = parser.add_argument_group("what to search")
    what.add_argument("--budget", required=True, help="hard limit: 4.5GFLOPs, 450MFLOPs, 4.5GMACs, 25Mparams, or several: '4.5GFLOPs 25Mparams'")
    what.add_argument("--space", default="hybrid-224", help="hybrid-224, hybrid-32 or a YAML file (%(default)s)")
    what.add_argument("--floor", type=number(0, 1), default=0.9, help="least share of the budget to use (%(default)s)")
    what.add_argument("--data", default="digits", help="folder or tar in ImageFolder layout, a name timm knows, or digits (%(default)s)")
    what.add_argument("--image-size", type=whole_number(32), help="side in pixels for training and judging the supernet (the data's own)")
    how = parser.add_argument_group("how long and how")
    how.add_argument("--trials", type=whole_number(1), default=120, help="architectures to evaluate (%(default)s)")
    how.add_argument("--minutes", type=number(0, 1e6), help="end after this time at the latest; half of it goes to training at most")
    how.add_argument("--steps", type=whole_number(1), default=400, help="steps of supernet training (%(default)s)")
    how.add_argument("--batch-size", type=whole_number(2), default=64, help="images a step (%(default)s)")
    how.add_argument("--lr", type=number(0, 10), default=1e-3, help="peak learning rate (%(default)s)")
    how.add_argument("--sampler", choices=SAMPLERS, default=SAMPLERS[0], help="what proposes architectures (%(default)s)")
    how.add_argument("--seed", type=int, default=0, help="of weights, data order and proposals (%(default)s)")
    where = parser.add_argument_group("where")
    where.add_argument("--out", type=Path, help="the run's directory (runs/SPACE-BUDGET-DATA)")
    where.add_argument("--storage", help="Optuna storage URL (SQLite in the run's directory)")
    where.add_argument("--keep", type=whole_number(1), default=5, help="architectures to write, the best included (%(default)s)")
    where.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0], help="where evaluations run (%(default)s)")
    where.add_argument("--workers", type=whole_number(1), default=1, help="evaluations at a time, with --backend ray (%(default)s)")
    where.add_argument("--ray-address", help="of a running Ray cluster to join (a cluster of its own on this machine)")
    arguments = parser.parse_args(argv)
    if arguments.backend == "local" and (arguments.workers > 1 or arguments.ray_address):
        parser.error("--workers and --ray-address need --backend ray")
    if arguments.out is None:
        name = "-".join((Path(arguments.space).stem, arguments.budget, Path(arguments.data).stem))
        arguments.out = Path("runs") / re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")
    arguments.out = arguments.out.absolute()
    return SearchConfig(**vars(arguments))


def run(config: SearchConfig) -> None:
    """Train, search, export; whatever an earlier run of the same config finished is not done again."""
    deadline = None if config.minutes is None else time.monotonic() + 60 * config.minutes
    from rich.console import Console

    from nas.backends import Stop
    from nas.run_directory import open_run
    from nas.study import ArchitectureStudy
    from nas.supernet_training import SupernetRun, train_supernet
    from proxies.band import Band
    from proxies.cost import parse_budget
    from space.files import load_space
    from supernet.data import open_images

    console = Console()
    space, budget = load_space(config.space), parse_budget(config.budget, config.floor)
    Band(space, budget)  # A budget out of reach ends here, before any image is read.
    images = open_images(config.data)
    image_size = config.image_size or images.default_image_size()
    band = Band(space.replace(num_classes=images.num_classes, in_chans=images.in_chans), budget)
    open_run(config.out, asdict(config) | {"image_size": image_size}, FREE)
    _introduce(console, config, band, image_size)

    supernet_run = SupernetRun(config.out, config.data, image_size, config.seed)
    train_supernet(supernet_run, band, config, None if deadline is None else 30 * config.minutes)
    study = ArchitectureStudy(config.storage_url, config.out.name, band, config.sampler, config.seed)
    _search(config, study, supernet_run, Stop(config.trials, deadline))
    _conclude(console, config, study, supernet_run)
