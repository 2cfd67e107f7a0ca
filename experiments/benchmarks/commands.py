"""How long the commands take that a person waits for: help, a refused budget, plans of all commands, the default search.

    python -m experiments.benchmarks.commands --output experiments/results/commands.md

Plans of what goes on from a search read what `make search` leaves. Each command runs as a process of its own; the median of
several runs is printed beside the least and the greatest, and beside what importing PyTorch takes. Nothing else should run on
the machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """A command, the seconds that it may take, and the exit code that it should end with.

    Args:
        arguments: of Python. `{run}` stands for a search's directory, `{out}` for one that is to be made, `{weights}` for DaViT-T's.
        goal_seconds: none where it is there to compare with.
    """

    name: str
    arguments: str
    goal_seconds: float | None
    runs: int = 5
    exit_code: int = 0


CASES = (
    Case("PyTorch alone", "-c 'import torch'", None),
    Case("help", "-m nas.search --help", 0.5, 7),
    Case("a budget out of reach", "-m nas.search --budget 0.1GFLOPs --out {out}", 5, exit_code=2),
    Case("plan of a search", "-m nas.search --budget 4.5GFLOPs --out {out} --dry-run", 5),
    Case("plan of a supernet", "-m nas.train --budget 4.5GFLOPs --out {out} --dry-run", 5),
    Case("plan of an audit", "-m nas.audit --run {run} --dry-run", 5),
    Case("plan of helping a search", "-m nas.join {run} --dry-run", 5),
    Case("plan of a report", "-m nas.report {run} --dry-run", 5),
    Case("plan of a retraining", "-m nas.retrain {run}/best.yaml --recipe deit --data digits --out {out} --dry-run", 5),
    Case("plan of a comparison", "-m nas.compare {run} --out {out} --dry-run", 5),
    Case("plan of an export", "-m nas.export {run}/best.yaml --weights {run}/best.safetensors --format onnx --output {out} --dry-run", 5),
    Case("plan of a conversion", "-m nas.convert --parent davit-t --weights {weights} --output {out} --dry-run", 5),
    Case("plan of a drawing", "-m nas.draw {run}/best.yaml -o {out}.svg --dry-run", 5),
    Case("plan of a profile", "-m nas.profile {run}/best.yaml --dry-run", 5),
    Case("plan of scores", "-m nas.score {run}/best.yaml --dry-run", 5),
    Case("the default search", "-m nas.search --budget 4.5GFLOPs --out {out}", 600, 1),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="Markdown file to write")
    parser.add_argument("--only", choices=[case.name for case in CASES], action="append", help="time only this one; may be repeated")
    parser.add_argument("--runs", type=int, help="of each command; by default five or what suits it")
    searched = Path("runs/hybrid-224-4.5GFLOPs-scattered-digits")
    parser.add_argument("--run", type=Path, default=searched, help="a search's directory (%(default)s)")
    arguments = parser.parse_args()
    cases = [case for case in CASES if arguments.only is None or case.name in arguments.only]
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        if any("{weights}" in case.arguments for case in cases):
            # Imported here: other benchmarks take the machine's description from this file.
            import timm
            from safetensors.torch import save_file

            save_file(timm.create_model("davit_tiny").state_dict(), weights)
        names = {"run": str(arguments.run), "out": f"{folder}/out", "weights": str(weights)}
        rows = [row_of(case, names, arguments.runs) for case in cases]
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "timm", "optuna"))
    lines = [
        "# Commands, as a person waits for them",
        "",
        f"Command: `python -m experiments.benchmarks.commands --output {arguments.output}`.",
        f"Machine: {processor()}, {len(cores())} cores. Python {platform.python_version()}, {packages}.",
        "",
        "| what | command | seconds: median (least to greatest) | runs | goal |",
        "|---|---|---|---|---|",
        *rows,
    ]
    arguments.output.write_text("\n".join(lines) + "\n")


def row_of(case: Case, names: Mapping[str, str], runs: int | None) -> str:
    """Time a case, `case.runs` times where no number is given; a row of the table."""
    seconds = [once(case, names) for _ in range(runs or case.runs)]
    shown = f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"
    print(f"{case.name}: {shown} s", flush=True)
    goal = "" if case.goal_seconds is None else f"{case.goal_seconds:g}"
    return f"| {case.name} | `python {case.arguments}` | {shown} | {len(seconds)} | {goal} |"


def once(case: Case, names: Mapping[str, str]) -> float:
    """Seconds of one run; what it made is removed."""
    command = [sys.executable, *(word.format_map(names) for word in shlex.split(case.arguments))]
    start = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    shutil.rmtree(names["out"], ignore_errors=True)
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
