"""Whether a search under an imported latency keeps it on the device: 20 architectures that it found, predicted and measured.

    python -m experiments.benchmarks.kit --cases hybrid-32:15MFLOPs

For each space it writes a kit, measures it with the kit's own script in a process without this package, imports what that says, and
searches within the budget and a limit in milliseconds that a third of the band keeps. The search prefers multiply-adds, so that it goes
for the limit. What it found is measured by a second kit. Folders that are there already are used again: the same command continues.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nas.latency.__main__ import main as latency
from nas.latency.importing import fitted_table
from nas.latency.report import LatencyReport, read_report
from nas.latency.verification import slowness_of, verified
from nas.runs.records.tables import markdown_table
from nas.search import search
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from proxies.latency import LatencyTable
from proxies.latency.fit import errors
from proxies.macs import cost_of
from proxies.target import parse_target
from space.architecture import Architecture
from space.files import load_space, write_atomically

RESULTS = Path(__file__).parents[1] / "results"
DEVICE = "kit"
SHARE = 1 / 3
"""Of the band's architectures, how many a limit admits."""
DRAWS = 200


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every case and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["hybrid-32:15MFLOPs"], metavar="SPACE:BUDGET")
    parser.add_argument("--num", type=int, default=20, help="architectures to verify")
    parser.add_argument("--trials", type=int, default=200, help="of the search")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1.5, help="for each of the two kits")
    parser.add_argument("--networks", type=int, default=16, help="whole networks that the table is fitted to")
    parser.add_argument("--folder", type=Path, default=Path("runs/kit"), help="of kits, tables and searches")
    parser.add_argument("--output", type=Path, default=RESULTS / "kit.md")
    args = parser.parse_args(argv)
    words = " ".join(argv if argv is not None else sys.argv[1:])
    lines = ["# Latencies from a kit: what a search found, measured", "", f"`{f'python -m experiments.benchmarks.kit {words}'.strip()}`"]
    for case in args.cases:
        lines += section(*case.rpartition(":")[::2], args)
    write_atomically(args.output, "\n".join(lines) + "\n")
    print("\n".join(lines))


def section(name: str, limit: str, args: argparse.Namespace) -> list[str]:
    """One case from its kit to its table."""
    folder = args.folder / Path(name).stem
    folder.mkdir(parents=True, exist_ok=True)
    loads = [os.getloadavg()[0]]
    space, tables = load_space(name), folder / "tables"
    if not (folder / "kit").exists():
        run(["kit", "--space", name, "--networks", str(args.networks), "--out", str(folder / "kit")])
    report = measured(folder / "kit", args)
    run(["import", str(folder / "kit" / "latencies.json"), "--name", DEVICE, "--space", name, "--latency-tables", str(tables)])
    table = fitted_table(report, space, parse_target(DEVICE), folder / "kit" / "latencies.json")
    loads.append(os.getloadavg()[0])
    budget = f"{limit} {limit_ms(table, limit):.4g}ms@{DEVICE}"
    fixed = {"data": "digits", "space": name, "out": folder / "run", "latency_tables": tables}
    search(budget, evaluator=multiply_adds, trials=args.trials, keep=args.num, **fixed)
    if not (folder / "winners").exists():
        run(["verify", str(folder / "run"), "--out", str(folder / "winners")])
    winners = measured(folder / "winners", args)
    run(["import", str(folder / "winners" / "latencies.json")])
    loads.append(os.getloadavg()[0])
    return results(name, budget, report, winners, table, loads)


def run(arguments: Sequence[str]) -> None:
    """A command of `nas.latency`."""
    code = latency(arguments)
    if code:
        sys.exit(code)


def measured(kit: Path, args: argparse.Namespace) -> LatencyReport:
    """What a kit's script reports, run in a process that finds no package of ours."""
    if not (kit / "latencies.json").exists():
        options = ["--threads", str(args.threads), "--minutes", str(args.minutes)]
        subprocess.run([sys.executable, "-I", str(kit / "measure.py"), *options], check=True)
    return read_report(kit / "latencies.json")


def limit_ms(table: LatencyTable, budget: str) -> float:
    """The limit that a share of the band's architectures keeps, by prediction and with the margin."""
    band, rng = ArchitectureBand(table.space, parse_budget(budget)), random.Random(0)
    return float(np.quantile([table.predict(band.draw(rng)) for _ in range(DRAWS)], SHARE)) * table.margin() / 1e6


def multiply_adds(architecture: Architecture) -> float:
    """What the search prefers."""
    return cost_of(architecture).macs / 1e9


def results(
    name: str, budget: str, report: LatencyReport, winners: LatencyReport, table: LatencyTable, loads: Sequence[float]
) -> list[str]:
    """The section of a case."""
    found = verified(winners)
    error, own = errors(*(np.array([getattr(one, key) for one in found]) for key in ("predicted_ms", "measured_ms"))), table.errors
    holding = sum(one.holds for one in found)
    rows = [
        [one.name, f"{cost_of(one.architecture).macs / 1e6:,.1f}", f"{one.predicted_ms:.3f}", f"{one.measured_ms:.3f}",
         f"{one.measured_ms / one.predicted_ms - 1:+.1%}", "yes" if one.holds else "no"]
        for one in found
    ]  # fmt: skip
    return [
        "",
        f"## {name} within {budget}",
        "",
        ", ".join(f"{key} {value}" for key, value in report.device.items())
        + f". The machine's load average was {', '.join(f'{load:.1f}' for load in loads)} before the kit, after it, and at the end. "
        f"The pace of the reference network changed by {report.drift:.0%} in the first kit and by {winners.drift:.0%} in the second, "
        f"where it took {slowness_of(winners):.2f} times as long; latencies are scaled to the pace of the first.",
        "",
        f"The kit: {len(report.parts)} parts, {len(report.networks)} networks. Its own networks, each left out in turn: {own.mean:.1%} "
        f"mean error, rho {own.rank_correlation:.3f}; margin {table.margin():.3f}.",
        "",
        f"**{holding} of {len(found)} found architectures hold the limit ({holding / len(found):.0%}).** Predictions "
        f"err by {error.mean:.1%} on average.",
        "",
        *markdown_table(("", "MFLOPs", "predicted ms", "measured ms", "difference", "holds"), rows),
    ]


if __name__ == "__main__":
    main()
