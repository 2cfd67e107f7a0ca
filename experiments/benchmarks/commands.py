"""How long the commands take that a person waits for: help, a refused budget, the default search.

    python experiments/benchmarks/commands.py --output experiments/results/commands.md

Each command runs as a process of its own; the median of several runs is told beside the least and the greatest. Nothing
else should run on the machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """A command, the exit code that it should end with, and the seconds that it may take."""

    name: str
    arguments: tuple[str, ...]
    exit_code: int
    goal_seconds: float
    runs: int


CASES = (
    Case("help", ("nas.search", "--help"), 0, 0.5, 7),
    Case("a budget out of reach", ("nas.search", "--budget", "0.1GFLOPs", "--out", "{out}"), 2, 5, 5),
    Case("the default search", ("nas.search", "--budget", "4.5GFLOPs", "--out", "{out}"), 0, 600, 1),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="Markdown file to write")
    parser.add_argument("--only", choices=[case.name for case in CASES], action="append", help="time only this one; may be repeated")
    arguments = parser.parse_args()
    rows = [row_of(case) for case in CASES if arguments.only is None or case.name in arguments.only]
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "timm", "optuna"))
    lines = [
        "# Commands, as a person waits for them",
        "",
        f"Command: `python experiments/benchmarks/commands.py --output {arguments.output}`.",
        f"Machine: {processor()}, {len(cores())} cores. Python {platform.python_version()}, {packages}.",
        "",
        "| what | command | seconds: median (least to greatest) | runs | goal |",
        "|---|---|---|---|---|",
        *rows,
    ]
    arguments.output.write_text("\n".join(lines) + "\n")


def row_of(case: Case) -> str:
    """Time a case; a row of the table."""
    seconds = [once(case) for _ in range(case.runs)]
    shown = f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"
    command = " ".join(("python -m", *case.arguments)).replace(" --out {out}", "")
    print(f"{case.name}: {shown} s", flush=True)
    return f"| {case.name} | `{command}` | {shown} | {case.runs} | {case.goal_seconds:g} |"


def once(case: Case) -> float:
    """Seconds of one run in a fresh directory."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", *(word.format(out=f"{folder}/run") for word in case.arguments)]
        start = time.perf_counter()
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
    if run.returncode != case.exit_code:
        raise SystemExit(f"{case.name}: got exit code {run.returncode}, expected {case.exit_code}\n{run.stderr}")
    return seconds


def cores() -> set[int]:
    """Processors that this process may use."""

    return os.sched_getaffinity(0)


def processor() -> str:
    """The processor's name."""
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
