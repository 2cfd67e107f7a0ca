"""`python -m tests.fuzz.fuzzer --inputs 10000`: throws mutated files at every door, within bounds of time and memory.

Only a UserError in one line may come out. It prints a line of JSON a door, and ends with 1 at the first input that brings
anything else to light, which it keeps.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from space.errors import UserError
from tests.fuzz.doors import DOORS, Door

SECONDS = 10
"""For one input, until what it holds has been used."""
MEMORY = 2**30
"""Bytes that all of them together may ask for, above what the process has begun with."""
SHARES = {
    "architecture": 0.3, "space": 0.2, "budget": 0.15, "recipe": 0.05, "checkpoint": 0.1, "inherited weights": 0.1, "official weights": 0.1,
}  # fmt: skip


class TooSlow(BaseException):
    """An input took longer than it may; nothing catches it."""


def fuzz(name: str, door: Door, inputs: int, seed: int, folder: Path) -> dict[str, object]:
    """Throw so many inputs at a door; what came of them. An input that does what it must not stays in the folder."""
    rng = random.Random(f"{seed} {name}")
    refused, slowest = 0, 0.0
    for _ in range(inputs):
        content = door.mutate(rng, rng.choice(door.seeds), door.seeds)
        start = time.process_time()
        refused += enter(door, content, folder) is not None
        slowest = max(slowest, time.process_time() - start)
    return {"door": name, "inputs": inputs, "refused": refused, "accepted": inputs - refused, "slowest_s": round(slowest, 2)}


def enter(door: Door, content: bytes, folder: Path) -> str | None:
    """Hand an input in; the line that refuses it, if one does."""
    file = folder / f"input{door.suffix}"
    file.write_bytes(content)
    complaint = None
    try:
        with at_most(SECONDS):
            door.enter(file)
    except UserError as error:
        complaint = str(error)
    except BaseException:
        # What it accepted, it may have written over.
        file.write_bytes(content)
        raise
    assert complaint is None or ("\n" not in complaint and len(complaint) < 1000), f"no short line: {complaint[:1000]}"
    return complaint


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Interrupt what computes for longer; time that others take of the processor does not count."""

    def late(*_: object) -> None:
        raise TooSlow

    previous = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    for door in DOORS.values():
        # What libraries load on first use is theirs.
        file = folder / f"seed{door.suffix}"
        file.write_bytes(door.seeds[0])
        door.enter(file)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, door in DOORS.items():
        try:
            found = fuzz(name, door, round(SHARES[name] * arguments.inputs), arguments.seed, folder)
        except BaseException:
            traceback.print_exc()
            print(f"{name}: see {folder}/input{door.suffix}", file=sys.stderr)
            return 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps(found | {"peak_mb_above_start": round((peak - before) / 1024)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
