"""Predicted and measured latencies of architectures that the fit has not seen.

    python -m experiments.benchmarks.latency --space hybrid-224 --budget 4.5GFLOPs --target cpu:1t:bs1

This takes about a quarter of an hour on an idle machine. The table is measured first, unless `--table` names an existing file.
Then networks are drawn from the budget's band and measured twice, in groups that run in the same rounds. The difference between the
two measurements is the noise floor.
"""

from __future__ import annotations

import argparse
import platform
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from proxies.latency import BackendError, LatencyTable, Measured, open_table
from proxies.latency.fingerprint import fingerprint_of
from proxies.latency.fit import errors
from proxies.latency.measure import Effort
from proxies.macs import cost_of
from proxies.target import parse_target
from space import load_space
from space.architecture import Architecture
from space.files import write_atomically

RESULTS = Path(__file__).parents[1] / "results"
GROUP = 10
"""Networks in memory together."""
SHARES = (0.2, 0.35, 0.5, 0.65, 0.8)
"""Limits at these quantiles of the measured latencies."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the table and the networks, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="hybrid-224")
    parser.add_argument("--budget", type=parse_budget, default=parse_budget("4.5GFLOPs"))
    parser.add_argument("--target", type=parse_target, default=parse_target("cpu:1t:bs1"))
    parser.add_argument("--num", type=int, default=50, help="networks that are held out")
    parser.add_argument("--table", type=Path, help="where the table is kept; by default it is measured anew")
    parser.add_argument("--table-seconds", type=float, default=150.0, help="for the rounds of the table's measurement")
    parser.add_argument("--seconds", type=float, default=40.0, help=f"for the rounds of {GROUP} networks' measurement")
    parser.add_argument("--seed", type=int, default=1, help="of the held-out networks; the table's are drawn by another")
    parser.add_argument("--output", type=Path, default=RESULTS / "latency.md")
    args = parser.parse_args(argv)

    space = load_space(args.space)
    band = ArchitectureBand(space, args.budget)
    started = time.perf_counter()
    place = args.table or args.output.with_suffix(".tmp.json")
    try:
        table = open_table(space, args.target, place, effort=Effort(args.table_seconds), on_progress=report)
    finally:
        if args.table is None:
            place.unlink(missing_ok=True)
    seconds = time.perf_counter() - started
    rng = random.Random(args.seed)
    architectures = [band.draw(rng) for _ in range(args.num)]
    first, second = (measure_in_groups(table, architectures, args) for _ in range(2))
    write_atomically(args.output, results(table, architectures, first, second, seconds, args))
    print(args.output.read_text())


def report(done: int, total: int) -> None:
    """Print a measurement's progress, now and then."""
    if done % 20 == 0 or done == total:
        print(f"table: {done} of {total}", flush=True)


def measure_in_groups(table: LatencyTable, architectures: Sequence[Architecture], args: argparse.Namespace) -> list[Measured]:
    """Measure networks, scaled by the table's reference, `GROUP` at a time in memory."""
    measured: list[Measured] = []
    for start in range(0, len(architectures), GROUP):
        for found in table.measure(architectures[start : start + GROUP], Effort(args.seconds)):
            if isinstance(found, BackendError):
                raise found
            measured.append(found)
        print(f"networks: {len(measured)} of {len(architectures)}", flush=True)
    return measured


def results(
    table: LatencyTable,
    architectures: Sequence[Architecture],
    first: Sequence[Measured],
    second: Sequence[Measured],
    table_seconds: float,
    args: argparse.Namespace,
) -> str:
    """The results as Markdown."""
    measured, again = (np.array([each.nanoseconds for each in turn], dtype=float) for turn in (first, second))
    started = time.perf_counter()
    predicted = np.array([table.predict(architecture) for architecture in architectures], dtype=float)
    prediction_ms = (time.perf_counter() - started) / len(architectures) * 1e3
    macs = np.array([cost_of(architecture).macs for architecture in architectures], dtype=float)
    slownesses = [each.slowness for each in (*first, *second)]
    by_clock = np.array([each.nanoseconds * each.slowness for each in first])
    again_by_clock = np.array([each.nanoseconds * each.slowness for each in second])
    lines = [
        f"# Latencies of {args.space} within {args.budget} on {args.target}",
        "",
        f"`python -m experiments.benchmarks.latency --space {args.space} --budget \"{args.budget}\" --target {args.target} --num {args.num}"
        f" --seed {args.seed}`",
        "",
        ", ".join(f"{name} {fact}" for name, fact in fingerprint_of(table.space, args.target).items() if name != "target")
        + f", python {platform.python_version()}, torch's threads outside of measurements {torch.get_num_threads()}.",
        "",
        f"{len(architectures)} architectures drawn in the band, fused, {measured.min() / 1e6:.1f} to {measured.max() / 1e6:.1f} ms"
        f" (median {np.median(measured) / 1e6:.1f}); the table saw none of them. FLOPs alone: a line fitted to all but the one predicted.",
        f"Latencies are scaled to the machine's speed while the table was measured; by the clock they took {min(slownesses):.2f} to"
        f" {max(slownesses):.2f} times as long.",
        "",
        "| predicted by | mean error | within 10 % | Spearman's rho |",
        "|---|--:|--:|--:|",
    ]
    rows = {
        "table": (predicted, measured), "FLOPs alone": (by_macs(macs, measured), measured), "measured again": (again, measured),
        "table, by the clock": (predicted, by_clock), "measured again, by the clock": (again_by_clock, by_clock),
    }  # fmt: skip
    for name, (values, true) in rows.items():
        found = errors(values, true)
        lines.append(f"| {name} | {found.mean:.1%} | {found.within_tenth:.0%} | {found.rank_correlation:.3f} |")
    left_out = table.errors
    lines += [
        "",
        f"The table took {table_seconds:.0f} s, a prediction {prediction_ms:.2f} ms. Its own networks, each left out in turn:"
        f" {left_out.mean:.1%} mean error, {left_out.within_tenth:.0%} within 10 %, rho {left_out.rank_correlation:.3f}."
        f" Spread of the repeats: {table.spread:.1%} in the table,"
        f" {np.median([each.spread for each in first]):.1%} for the networks.",
        *table.notes,
        "",
        f"Architectures stay a factor of {table.margin():.3f} under a limit. What is admitted then, and really meets it:",
        "",
        "| limit at the quantile | admitted | meet it | without the margin | meet it |",
        "|--:|--:|--:|--:|--:|",
    ]
    for share in SHARES:
        limit = int(np.quantile(measured, share))
        cells = []
        for bound in (table.limit_for(limit), limit):
            admitted = predicted <= bound
            cells.append(f"{admitted.sum()} | {(measured[admitted] <= limit).mean():.0%}" if admitted.any() else "0 | ")
        lines.append(f"| {share:.0%} ({limit / 1e6:.1f} ms) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def by_macs(macs: NDArray[np.float64], measured: NDArray[np.float64]) -> NDArray[np.float64]:
    """Latency as a line in the multiply-adds, fitted by relative error to all networks but the one that is predicted."""
    predicted = []
    for i in range(len(macs)):
        others = np.arange(len(macs)) != i
        slope, constant = np.polyfit(macs[others], measured[others], 1, w=1 / measured[others])
        predicted.append(slope * macs[i] + constant)
    return np.array(predicted)


if __name__ == "__main__":
    main()
