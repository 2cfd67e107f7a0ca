"""The plan that `--dry-run` prints: what a command would do, and what that costs in time, memory and disk."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil
from rich import box
from rich.console import Console
from rich.table import Table

from nas.cli.options import OptionError
from nas.cli.progress import duration

BUSY = 0.5
"""Share of the cores that other programs may use before a plan says so."""
UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


@dataclass(frozen=True)
class Phase:
    """One thing that a command would do.

    Args:
        what: in words.
        seconds: expected; none where it is done already.
    """

    name: str
    what: str
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    """What a command would do.

    Args:
        memory: bytes in all of a process, by what it is doing, such as `in training`.
        files: bytes by file, or by folder with all that would be in it.
        passing: bytes of files that are gone at the end, such as checkpoints.
        note: ends the line about time.
    """

    phases: tuple[Phase, ...]
    memory: Mapping[str, float]
    files: Mapping[str, float] = field(default_factory=dict)
    passing: float = 0.0
    note: str = ""


def print_plan(console: Console, plan: Plan) -> None:
    """Print phases, time, memory and files."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for heading in ("phase", "what", "expected"):
        table.add_column(heading, no_wrap=heading != "what")
    for phase in plan.phases:
        table.add_row(phase.name, phase.what, "done already" if phase.seconds is None else duration(phase.seconds))
    console.print(table)
    total = sum(phase.seconds or 0.0 for phase in plan.phases)
    console.print(f"expected in all: {duration(total)}, within a factor of three{plan.note}", soft_wrap=True)
    cores, busy = os.cpu_count() or 1, os.getloadavg()[0]
    if total and busy > BUSY * cores:
        # As many programs as there are cores leave this one half of them.
        beside = f"{busy:.1f} programs compute on its {cores} cores now, beside which it takes about {duration(total * (1 + busy / cores))}"
        console.print(f"that is on an idle machine: {beside}", soft_wrap=True)
    memory = ", ".join(f"{amount / 2**30:.1f} GiB {when}" for when, amount in plan.memory.items())
    console.print(f"expected memory: {memory}", soft_wrap=True)
    disk = _size(sum(plan.files.values()))
    passing = f", and {_size(plan.passing)} more while it runs" if plan.passing else ""
    console.print(f"expected on disk: {disk}{passing}" if plan.files else "expected on disk: nothing", soft_wrap=True)
    if plan.files:
        console.print("it would write:")
    for file, size in plan.files.items():
        console.print(f"  {file}  {_size(size)}", soft_wrap=True)
    console.print("nothing was written")


def refuse_dry_run(options: Mapping[str, object]) -> None:
    """OptionError where a Python caller, who gets results back, asks for a dry run, which has none."""
    if options.get("dry_run"):
        raise OptionError("dry_run", "got True, expected it on the command line alone, which shows what would be done")


def memory_now() -> float:
    """Bytes of this process: Python, PyTorch and all else that is loaded."""
    return float(psutil.Process().memory_info().rss)


def memory_so_far() -> float:
    """The most bytes that this process had at a time: for a command whose dry run does all but the writing."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def _size(amount: float) -> str:
    unit, scale = next(((unit, scale) for unit, scale in UNITS if amount >= scale), UNITS[-1])
    return f"{amount / scale:.3g} {unit}"
