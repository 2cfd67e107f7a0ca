"""Runs the quick start and writes its page: `make tour`, or `python docs/quick_start.py`.

The page shows what the commands print, so a change of an output is seen in it. What an interrupted tour has done is not done again.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).with_name("quick-start.md")
PYTHON = ".venv/bin/python"
SET_UP = "git clone <this repository> token-mixer-nas && cd token-mixer-nas && make install"
RUN = "runs/hybrid-224-4.5GFLOPs-scattered-digits"
PROGRESS = re.compile(r"^[^:]+: \d+/\d+ \(\d+ %\)")
"""A line that tells how far a phase is."""


@dataclass(frozen=True)
class Step:
    """A command of the tour.

    Args:
        heading: what it is for.
        command: as a reader types it.
        conclusion: what its output tells.
    """

    heading: str
    command: str
    conclusion: str


STEPS = (
    Step(
        "Ask what a search takes", f"{PYTHON} -m nas.search --budget 4.5GFLOPs --dry-run",
        "Nothing was written. The data come with the package: scenes of digits, whose class is the largest digit.",
    ),
    Step(
        "Search", f"{PYTHON} -m nas.search --budget 4.5GFLOPs",
        "Read the sentence below the last table first: it holds the winner against a published network and a random one on images that "
        "chose nothing. The first table ranks architectures with shared weights, and is no test accuracy.",
    ),
    Step("Look at the winner", f"{PYTHON} -m nas.draw {RUN}/best.yaml -o best.svg", "Rows are stages, boxes are blocks."),
    Step(
        "Train it", f"{PYTHON} -m nas.retrain {RUN}/best.yaml --quick",
        "Three epochs are for the tour. Leave out `--quick` for the thirty of the recipe.",
    ),
    Step(
        "Export it",
        f"{PYTHON} -m nas.export runs/retrain-best/architecture.yaml --weights runs/retrain-best/weights.safetensors --format onnx",
        "The folder holds the graph, and a README with the code that runs it. That code needs ONNX Runtime and nothing of this project.",
    ),
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Run the steps that have not been run in the folder, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/tour"), help="where the commands run (%(default)s)")
    parser.add_argument("--page", type=Path, default=PAGE, help="what is written (%(default)s)")
    parser.add_argument("--search", default="", help="further options of the search, to try the tour")
    parser.add_argument("--retrain", default="", help="further options of the retraining")
    config = parser.parse_args(argv)
    more = {"nas.search": shlex.split(config.search), "nas.retrain": shlex.split(config.retrain)}
    config.folder.mkdir(parents=True, exist_ok=True)
    done = [output_of(number, step, config.folder.resolve(), more) for number, step in enumerate(STEPS, start=2)]
    config.page.write_text(page(done))


def output_of(number: int, step: Step, folder: Path, more: dict[str, list[str]]) -> tuple[str, float]:
    """What a step prints, as a reader sees it, and its seconds; from an earlier tour where that has run it."""
    file = folder / f"step-{number}.txt"
    if not file.exists():
        program, *words = shlex.split(step.command)
        command = [sys.executable, *words, *more.get(words[1], [])]
        print(f"$ {shlex.join([program, *command[1:]])}", flush=True)
        start = time.monotonic()
        ended = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
        if ended.returncode:
            raise SystemExit(f"{step.command}: got exit code {ended.returncode}, expected 0")
        file.write_text(f"{time.monotonic() - start:.1f}\n{ended.stdout}")
    seconds, _, text = file.read_text().partition("\n")
    lines = [line.rstrip() for line in text.splitlines() if not PROGRESS.match(line)]
    shown = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    for path, name in ((sys.executable, PYTHON), (str(Path(sys.executable).parent), ".venv/bin"), (f"{folder}/", "")):
        shown = shown.replace(path, name)
    return shown, float(seconds)


def page(done: Sequence[tuple[str, float]]) -> str:
    """The page from the steps' outputs."""
    total = sum(seconds for _, seconds in done)
    lines = [
        "# Quick start", "",
        "Six commands lead from an empty directory to an ONNX file of a network that you have searched for. You need Linux and Python "
        f"3.11 or newer. Without the set-up they took {minutes(total)} on {os.cpu_count()} cores; their output is printed as it was.", "",
        "## 1. Set up", "", "```text", f"$ {SET_UP}", "```", "",
    ]  # fmt: skip
    for number, (step, (output, seconds)) in enumerate(zip(STEPS, done, strict=True), start=2):
        lines += [f"## {number}. {step.heading}", "", "```text", f"$ {step.command}", output, "```", ""]
        lines += [f"{step.conclusion} It took {minutes(seconds)}.", ""]
    lines += ["Next: [your own data](own-data.md), [your own budget and device](budgets-and-devices.md), [reading the report](report.md)."]
    return "\n".join(lines) + "\n"


def minutes(seconds: float) -> str:
    """A duration in words."""
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"


if __name__ == "__main__":
    main()
