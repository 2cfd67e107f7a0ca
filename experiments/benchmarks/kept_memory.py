"""Evaluations and training steps that keep the memory which they free, beside ones that hand it back, as the C library does by default.

    python -m experiments.benchmarks.kept_memory

Each measurement is a process of its own, since what a process has freed before decides what its allocator does. The two kinds alternate.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.benchmarks.parents import RESULTS, machine
from experiments.benchmarks.supernet import step_of_network, step_of_supernet
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from proxies.kept_memory import kept_memory
from space.architecture import Architecture
from space.files import load_space, write_atomically
from space.network import build_network
from space.search_space import SearchSpace

CASES = ("hybrid-32:15MFLOPs", "hybrid-32:60MFLOPs")
KINDS = ("evaluation", "training step", "supernet step")
EVALUATED, TRAINED, SHARED = 250, 128, 32
"""Images of a batch: of evaluations, of a network's training, of a supernet's."""
BATCHES = 4
"""Of an evaluation."""


@dataclass(frozen=True)
class Row:
    """One kind of work on the architectures of a case.

    Args:
        seconds: of handing memory back, the median.
        times: of keeping memory to handing it back, by pair.
        system: share of `seconds` that the system took.
        memory: the same ratio of peak memories, the median.
    """

    case: str
    kind: str
    seconds: float
    times: tuple[float, ...]
    system: float
    memory: float


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all cases; the table is written anew after each row, so that stopping loses nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="SPACE:BUDGET")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of processes")
    parser.add_argument("--architectures", type=int, default=8, help="of the band, that each process works on")
    parser.add_argument("--repeats", type=int, default=2, help="times that it does so")
    parser.add_argument("--output", type=Path, default=RESULTS / "kept-memory.md")
    parser.set_defaults(device="cpu", threads=1)
    args = parser.parse_args(argv)
    rows: list[Row] = []
    for case in args.cases:
        for kind in KINDS:
            rows.append(measure(case, kind, args))
            print(rows[-1], flush=True)
            write_atomically(args.output, table(rows, args))


def measure(case: str, kind: str, args: argparse.Namespace) -> Row:
    """All pairs of a kind of work."""
    pairs = [[_in_a_process(case, kind, keeps, args) for keeps in (False, True)] for _ in range(args.rounds)]
    usual = statistics.median(seconds for (seconds, _, _), _ in pairs)
    system = statistics.median(system / seconds for (seconds, system, _), _ in pairs)
    memory = statistics.median(kept[2] / given[2] for given, kept in pairs)
    return Row(case, kind, usual, tuple(kept[0] / given[0] for given, kept in pairs), system, memory)


def _in_a_process(case: str, kind: str, keeps: bool, args: argparse.Namespace) -> tuple[float, float, float]:
    """Seconds, those of them in the system, and the process's greatest memory in bytes."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, case, kind, keeps, args.architectures, args.repeats))
    process.start()
    theirs.close()
    measured: tuple[float, float, float] = mine.recv()
    process.join()
    return measured


def _work(pipe: multiprocessing.connection.Connection, case: str, kind: str, keeps: bool, count: int, repeats: int) -> None:
    torch.set_num_threads(1)
    name, _, budget = case.partition(":")
    space = load_space(name)
    band, rng = ArchitectureBand(space, parse_budget(budget, 0.9)), random.Random(0)
    with kept_memory() if keeps else nullcontext():
        work = list(_pieces(kind, space, [band.draw(rng) for _ in range(count)]))
        # The first one warms up.
        for number, piece in enumerate([work[0], *work * repeats]):
            piece()
            if not number:
                start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_stime
        used = resource.getrusage(resource.RUSAGE_SELF)
        pipe.send((time.perf_counter() - start, used.ru_stime - before, 1024.0 * used.ru_maxrss))


def _pieces(kind: str, space: SearchSpace, architectures: Sequence[Architecture]) -> Iterator[Callable[[], object]]:
    """The work on each architecture."""

    def batch(size: int) -> torch.Tensor:
        return torch.randn(size, space.in_chans, space.image_size, space.image_size, generator=torch.Generator().manual_seed(0))

    def labels(size: int) -> torch.Tensor:
        return torch.arange(size) % space.num_classes

    if kind == "supernet step":
        step = step_of_supernet(space, architectures, batch(SHARED), labels(SHARED))
        yield from (lambda number=number: [step(number) for _ in range(BATCHES)] for number in range(len(architectures)))
    for architecture in architectures if kind == "training step" else ():
        yield step_of_network(architecture, batch(TRAINED), labels(TRAINED))
    for architecture in architectures if kind == "evaluation" else ():
        network, images = build_network(architecture).eval(), batch(EVALUATED)

        def evaluate(network: torch.nn.Module = network, images: torch.Tensor = images) -> None:
            with torch.inference_mode():
                for _ in range(BATCHES):
                    network(images)

        yield evaluate


def table(rows: Sequence[Row], args: argparse.Namespace) -> str:
    """All results as Markdown."""
    lines = [
        "# Memory that is kept",
        "",
        f"`python -m experiments.benchmarks.kept_memory --cases {' '.join(args.cases)} --architectures {args.architectures}"
        f" --repeats {args.repeats} --rounds {args.rounds}`:",
        f"{machine(args)}, torch {torch.__version__}, fp32. Wall-clock times of a process's work on {args.architectures} architectures",
        f"of the band: {BATCHES} forward passes of {EVALUATED} images, a training step of {TRAINED} images, {BATCHES} steps of a supernet",
        f"with {SHARED} images.",
        "Ratios are of keeping freed memory to handing it back, medians of pairs, with the least and the greatest.",
        "",
        "| space : budget | work | seconds, handing back | of them in the system | kept / handed back | least and greatest | peak memory |",
        "|---|---|--:|--:|--:|---|--:|",
    ]
    for row in rows:
        cells = [row.case, row.kind, f"{row.seconds:.1f}", f"{row.system:.0%}", f"{statistics.median(row.times):.2f}"]
        lines.append(f"| {' | '.join([*cells, f'{min(row.times):.2f} to {max(row.times):.2f}', f'{row.memory:.2f}'])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
