"""How fast a band is built, drawn from and counted, and how fast a cost is known.

    python -m experiments.benchmarks.band --space hybrid-224 --budget 4.5GFLOPs

This takes some minutes, mostly for fvcore and the commands. Second and third limits are the medians of
draws within the first one; the latency is made up from multiply-adds and activations, in place of a measured table.
"""

from __future__ import annotations

import argparse
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from experiments.benchmarks.commands import processor
from proxies.band.additive_cost import AdditiveCost, CostTable
from proxies.band.architecture_band import ArchitectureBand
from proxies.band.space_cost import SpaceParts
from proxies.cost import Budget, BudgetError, format_amount, latency_on, parse_budget
from proxies.macs import part_activations, part_cost
from proxies.reference import count_network
from proxies.target import Target
from space import build_network, load_space
from space.files import write_atomically
from space.search_space import SearchSpace

RESULTS = Path(__file__).parents[1] / "results"
LATENCY = latency_on(Target())
SHARE = 0.5
NUM_NETWORKS = 5


@dataclass(frozen=True)
class Timed:
    """What one band took.

    Args:
        limits: as people write them.
        build_s: until the first draw.
        sample_ms, uniform_ms: a draw, on average over the first ones.
        count_s: until the bounds were known.
    """

    limits: str
    build_s: float
    sample_ms: float
    uniform_ms: float
    count_s: float
    count_bounds: tuple[int, int]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure everything, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="hybrid-224")
    parser.add_argument("--budget", type=parse_budget, default=parse_budget("4.5GFLOPs"), help="one limit, on multiply-adds")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--lookups", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=RESULTS / "band.md")
    args = parser.parse_args(argv)

    space = load_space(args.space)
    band, first = timed(space, args.budget, args)
    latency = made_up_latency(space)
    limits = args.budget.limits | half_of_draws(ArchitectureBand(space, args.budget, [latency]), args.draws)
    bands = [first]
    for quantities in (("macs", "params"), ("macs", LATENCY), ("macs", "params", LATENCY)):
        budget = Budget({quantity: limits[quantity] for quantity in quantities}, args.budget.floor)
        bands.append(timed(space, budget, args, latency)[1])
    write_atomically(args.output, results(bands, rest(band, args), args))
    print(args.output.read_text())


def timed(space: SearchSpace, budget: Budget, args: argparse.Namespace, *latencies: AdditiveCost) -> tuple[ArchitectureBand, Timed]:
    """Build a band, draw from it and count it."""
    rng = random.Random(0)
    start = time.perf_counter()
    band = ArchitectureBand(space, budget, latencies)
    band.sample(rng)
    build_s = time.perf_counter() - start
    sample_ms, uniform_ms = (1e3 * mean_seconds(lambda draw=draw: draw(rng), args.draws) for draw in (band.sample, band.sample_uniform))
    start = time.perf_counter()
    bounds = band.count_bounds
    found = Timed(str(budget), build_s, sample_ms, uniform_ms, time.perf_counter() - start, bounds)
    print(found, flush=True)
    return band, found


def made_up_latency(space: SearchSpace) -> AdditiveCost:
    """Terms of a latency in nanoseconds: some for every multiply-add, more for every activation, and a call for every part."""
    parts = SpaceParts(space)
    nanoseconds = {key: 20_000 + part_cost(part).macs // 50 + part_activations(part) // 2 for key, part in parts.parts.items()}
    return parts.terms({LATENCY: nanoseconds})


def half_of_draws(band: ArchitectureBand, draws: int) -> dict[str, int]:
    """What half of a band's members, evenly drawn, do not exceed, by quantity without a limit."""
    quantities = ("params", LATENCY)
    rng = random.Random(1)
    costs = CostTable(band.rows, band.cost, quantities)(np.array([band.sample_uniform(rng) for _ in range(draws)]))
    return dict(zip(quantities, np.quantile(costs, SHARE, axis=0).astype(int).tolist(), strict=True))


def rest(band: ArchitectureBand, args: argparse.Namespace) -> dict[str, str]:
    """What a refusal, a cost and the commands take."""
    space, rng = band.space, random.Random(2)
    least, most = (costs["macs"] for costs in band.reachable)
    low_params = ArchitectureBand(space, Budget({"params": 10**15}, floor=0)).reachable[0]["params"]
    found = {
        "refusing half the least": seconds(lambda: refused(space, Budget({"macs": least // 2}))),
        "refusing twice the most": seconds(lambda: refused(space, Budget({"macs": 2 * most}))),
        "refusing the most with the fewest parameters": seconds(lambda: refused(space, Budget({"macs": most, "params": low_params}))),
    }
    row = band.sample(rng)[None]
    architectures = [band.draw(rng) for _ in range(NUM_NETWORKS)]
    found["cost of one member, from the tables"] = f"{1e3 * mean_seconds(lambda: band.costs(row), args.lookups):.4f} ms"
    networks = iter([build_network(architecture) for architecture in architectures])
    found["the same by fvcore, from the built network"] = (
        f"{1e3 * mean_seconds(lambda: count_network(next(networks), space.image_size), NUM_NETWORKS):.0f} ms"
    )
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "nas.search", "--space", args.space, "--dry-run", "--out", folder, "--budget"]
        found["`import torch`"] = seconds(lambda: called([sys.executable, "-c", "import torch"], 0))
        found["`nas.search --dry-run`"] = seconds(lambda: called([*command, str(args.budget)], 0))
        found["`nas.search` at half the least"] = seconds(lambda: called([*command, format_amount(least // 2, "macs")], 2))
    return found


def refused(space: SearchSpace, budget: Budget) -> None:
    """Have a budget refused."""
    try:
        ArchitectureBand(space, budget)
    except BudgetError:
        return
    raise AssertionError(f"{budget} was not refused")


def called(command: Sequence[str], code: int) -> None:
    """Run a command that is to end with an exit code."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != code:
        raise AssertionError(f"{command}: got exit code {ended.returncode}, expected {code}: {ended.stderr}")


def mean_seconds(run: Callable[[], object], times: int) -> float:
    """Seconds a call, on average."""
    start = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - start) / times


def seconds(run: Callable[[], object]) -> str:
    """Seconds of one call, as text."""
    return f"{mean_seconds(run, 1):.2f} s"


def results(bands: Sequence[Timed], others: dict[str, str], args: argparse.Namespace) -> str:
    """The results as Markdown."""
    lines = [
        f"# The band of {args.space} at {args.budget}",
        "",
        f"`python -m experiments.benchmarks.band --space {args.space} --budget \"{args.budget}\" --draws {args.draws}`",
        "",
        f"{processor()}, python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}, fvcore {version('fvcore')};"
        f" {torch.get_num_threads()} threads.",
        "",
        "The first band's time to build includes the pricing of all parts. Draws are even over shapes and then within (`sample`), or even"
        f" over all members (`sample_uniform`); the mean of the first {args.draws}.",
        "",
        "| limits | build, s | sample, ms | sample_uniform, ms | count | counted in, s |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for band in bands:
        least, most = band.count_bounds
        lines.append(
            f"| {band.limits} | {band.build_s:.2f} | {band.sample_ms:.2f} | {band.uniform_ms:.2f} | {least:.4g} to {most:.4g} |"
            f" {band.count_s:.2f} |"
        )
    lines += ["", "| what | takes |", "|---|--:|", *(f"| {what} | {took} |" for what, took in others.items()), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
