"""`--dry-run`: what a search would do, how long it would take and what it would leave, without doing any of it."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from nas.finals import num_steps
from nas.progress import duration
from nas.standalone import BATCH_SIZE, TRAINING_PASSES
from nas.supernet_run import CALIBRATION_BATCH, EVALUATION_BATCH, SupernetRun
from proxies.architecture_band import ArchitectureBand
from proxies.latency import estimate_seconds
from proxies.macs import cost_of, part_activations, part_cost
from proxies.target import Target
from space.architecture import Architecture
from supernet.paths import strategy
from supernet.slicing import widest_parts

if TYPE_CHECKING:
    from nas.search_config import SearchConfig

SAMPLES = 8
EFFICIENCY = {"cpu": 0.3, "cuda": 0.1}
"""The share of a large matrix product's speed that whole networks reach, in rough figures."""
COPIES_OF_WEIGHTS = 4
"""Weights, gradients and two moments."""
MATRIX, REPEATS = 768, 5


def print_plan(
    console: Console,
    config: SearchConfig,
    band: ArchitectureBand,
    targets: Sequence[Target],
    supernet_run: SupernetRun,
    files: Sequence[str],
) -> None:
    """Print phases with expected seconds, expected memory, and the files.

    Args:
        band: without limits on latency, whose tables are measured in the first phase; architectures are priced by draws from it.
        targets: where latency would be measured.
        files: what the search would write.
    """
    rng = Random(0)
    drawn = [band.draw(rng) for _ in range(SAMPLES)]
    trained = drawn if config.scope == "band" else [band.space.sample(rng) for _ in range(SAMPLES)]
    speed = _macs_per_second()
    passes_per_second = speed / _mean_macs(drawn, supernet_run.image_size)
    trained_per_second = speed / _mean_macs(trained, supernet_run.image_size)
    _, splits = supernet_run.images()
    alone = config.evaluator == "standalone"
    num_paths = strategy(config.paths).num_paths(band.space)
    training = 0.0 if alone else config.steps * num_paths * config.batch_size * TRAINING_PASSES / trained_per_second
    passes = config.standalone_steps * BATCH_SIZE * TRAINING_PASSES if alone else len(splits.calibration)
    evaluation = (passes + len(splits.search)) / passes_per_second
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for heading in ("phase", "what", "expected"):
        table.add_column(heading, justify="left", no_wrap=heading != "what")
    measuring = 0.0
    for target in targets:
        seconds = estimate_seconds(band.space, target, config.latency_tables)
        measuring += seconds
        table.add_row("latency", f"a table of the space's parts on {target}", duration(seconds) if seconds else "there already")
    if not alone:
        paths = f"{num_paths} paths" if num_paths > 1 else "a path"
        of_supernet = f"{config.steps} steps of {paths}, {config.batch_size} images each, at {supernet_run.image_size} px"
        table.add_row("training", of_supernet, duration(training))
    before = f"{config.standalone_steps} steps of training alone" if alone else f"calibrating on {len(splits.calibration)}"
    images = f"on {len(splits.search)} images, after {before}"
    # The speed measured is that of all cores here; workers may have fewer or more.
    workers = config.resources
    searching = config.trials * evaluation * (os.cpu_count() or 1) / (workers.num_workers * workers.cpus)
    table.add_row("search", f"{config.trials} architectures {images}, {workers.num_workers} at a time", duration(searching))
    if config.num_finalists:
        steps = num_steps(config.num_finalists)
        expected = duration(steps * BATCH_SIZE * TRAINING_PASSES / passes_per_second)
        told = ", where it takes a third of the time before at most" if config.finalists is None and config.minutes is None else ""
        table.add_row("finals", f"the best train alone, {steps} steps, and published networks{told}", expected)
    console.print(table)
    note = "" if config.minutes is None else f"; --minutes ends it after {config.minutes:g}"
    total = measuring + training + searching
    console.print(f"expected in all: {duration(total)}, within a factor of three{note}")
    weights = 4 * sum(part_cost(part).params for part in widest_parts(band.space))
    pixels = (supernet_run.image_size / band.space.image_size) ** 2
    training_bytes = COPIES_OF_WEIGHTS * weights + 4 * TRAINING_PASSES * config.batch_size * max(map(_activations, trained)) * pixels
    searching_bytes = weights + max(CALIBRATION_BATCH, EVALUATION_BATCH) * max(map(_activations, drawn)) * pixels
    console.print(
        f"expected memory beyond PyTorch's own: {_gigabytes(training_bytes)} in training, {_gigabytes(searching_bytes)} for each worker"
    )
    console.print("it would write:")
    for file in files:
        console.print(f"  {file}", soft_wrap=True)
    console.print("nothing was written")


def _macs_per_second() -> float:
    """What networks are likely to reach here, from a matrix product's speed."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    matrix = torch.randn(MATRIX, MATRIX, device=device)
    (matrix @ matrix).sum().item()
    start = time.perf_counter()
    for _ in range(REPEATS):
        product = matrix @ matrix
    product.sum().item()
    return EFFICIENCY[device.type] * REPEATS * MATRIX**3 / (time.perf_counter() - start)


def _mean_macs(architectures: Sequence[Architecture], image_size: int) -> float:
    return statistics.mean(cost_of(architecture, image_size).macs for architecture in architectures)


def _activations(architecture: Architecture) -> int:
    return sum(map(part_activations, architecture.parts))


def _gigabytes(amount: float) -> str:
    return f"{amount / 2**30:.1f} GiB"
