"""What compiling a network for training takes and saves, and after how many steps it has repaid itself.

    python -m experiments.benchmarks.compilation

The same network's steps, as it is and through torch.compile, alternate. Nothing is taken from earlier compilations. For the supernet,
some of the parts that its paths consist of are compiled one by one, and how many different ones there are is counted.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.benchmarks.parents import RESULTS, machine, seconds_of
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from space.architecture import Architecture, Part
from space.files import load_architecture, load_space, parent_names, write_atomically
from space.network import build_network
from space.parts import build_part

CASES = ("hybrid-32:15MFLOPs", "hybrid-32:60MFLOPs", "davit-t")
PATHS = 1000
"""Paths of the supernet whose parts are counted."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all cases, then parts; the page is written anew after each."""
    arguments = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="SPACE:BUDGET", help="or published networks")
    parser.add_argument("--parts", type=int, default=8, help="of the first case's space, to compile apart")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--image-size", type=int, default=96, help="of published networks")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--backend", default="inductor", help="of torch.compile")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, default=RESULTS / "compilation-cpu.md")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    lines = [
        "# What compiling a network for training takes and saves",
        "",
        f"    {shlex.join(['python', '-m', 'experiments.benchmarks.compilation', *arguments])}",
        "",
        f"{machine(args)}, torch {torch.__version__}, backend {args.backend}, {'fp32' if args.device == 'cpu' else 'bf16'}, "
        f"{args.batch_size} images a step. A step is forward, backward and AdamW.",
        "Ratios are medians of pairs, with quartiles. Compiling includes the first step. Repaid: compiling through what a step saves.",
        "",
        "| network | step, ms | compiled / eager | quartiles | compiling, s | repaid after |",
        "|---|--:|--:|---|--:|--:|",
    ]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        for case in args.cases:
            lines.append(f"| {case} | {' | '.join(_row(_architecture(case, args), args))} |")
            write_atomically(args.output, "\n".join(lines) + "\n")
        if args.parts:
            lines += ["", *_parts(args)]
            write_atomically(args.output, "\n".join(lines) + "\n")
    print("\n".join(lines))


def _row(architecture: Architecture, args: argparse.Namespace) -> list[str]:
    plain = build_network(architecture).to(args.device)
    apart = deepcopy(plain)
    compiled = torch.compile(apart, fullgraph=True, dynamic=False, backend=args.backend)
    images = torch.randn(args.batch_size, 3, architecture.image_size, architecture.image_size, device=args.device)
    steps = {"eager": _training_step(plain, plain, images), "compiled": _training_step(apart, compiled, images)}
    steps["eager"]()
    start = time.perf_counter()
    seconds_of(steps["compiled"], 1, args.device)
    compiling = time.perf_counter() - start
    pairs = []
    for number in range(args.rounds + 2):
        pair = [seconds_of(step, 1, args.device) for step in steps.values()]
        if number > 1:
            pairs.append(pair)
    torch.compiler.reset()
    ratios = [compiled / eager for eager, compiled in pairs]
    low, median, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    saved = statistics.median(eager - compiled for eager, compiled in pairs)
    repaid = f"{compiling / saved:,.0f} steps" if saved > 0 else "never"
    step_ms = 1000 * statistics.median(eager for eager, _ in pairs)
    return [f"{step_ms:.0f}", f"{median:.3f}", f"{low:.3f} to {high:.3f}", f"{compiling:.0f}", repaid]


def _training_step(network: nn.Module, run: Callable[[Tensor], Tensor], images: Tensor) -> Callable[[], None]:
    """One step of a network that is run in some form."""
    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=images.is_cuda):
            logits = run(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _parts(args: argparse.Namespace) -> list[str]:
    """How many different parts paths have, and what some take to compile and save, forward and backward."""
    name, rng = args.cases[0].partition(":")[0], Random(0)
    space = load_space(name)
    different: dict[tuple[object, ...], Part] = {}
    for _ in range(PATHS):
        for part in space.sample(rng).parts:
            different.setdefault((part.spec, part.widths, part.in_size, part.norm), part)
    seconds, ratios = [], []
    for part in rng.sample([part for part in different.values() if not part.maps], args.parts):
        module = build_part(part, device=args.device)
        height, width, channels = part.inputs[0]
        x = torch.randn(args.batch_size, height, width, channels, device=args.device, requires_grad=True)

        def step(run: Callable[[Tensor], Tensor], x: Tensor = x) -> None:
            with torch.autocast("cuda", torch.bfloat16, enabled=x.is_cuda):
                total = run(x).float().square().mean()
            total.backward()

        compiled = torch.compile(module, fullgraph=True, dynamic=False, backend=args.backend)
        seconds.append(seconds_of(lambda compiled=compiled, step=step: step(compiled), 1, args.device))  # type: ignore[misc]
        times = [
            [seconds_of(lambda run=run, step=step: step(run), 1, args.device) for run in (module, compiled)]  # type: ignore[misc]
            for _ in range(args.rounds + 1)
        ]
        ratios.append(statistics.median(compiled / eager for eager, compiled in times[1:]))
        torch.compiler.reset()
    mean = statistics.mean(seconds)
    return [
        f"**Parts of a supernet.** {PATHS:,} random paths of {name} consist of {len(different)} different parts. {args.parts} of them,",
        f"drawn at random, took {mean:.1f} s each to compile, forward and backward ({min(seconds):.1f} to {max(seconds):.1f}). All would",
        f"take {mean * len(different) / 60:.0f} minutes. Compiled, they take {statistics.median(ratios):.2f} times as long as eager ones",
        f"(median; {min(ratios):.2f} to {max(ratios):.2f}).",
    ]


def _architecture(case: str, args: argparse.Namespace) -> Architecture:
    if case in parent_names():
        return load_architecture(case).replace(image_size=args.image_size)
    name, _, budget = case.partition(":")
    return ArchitectureBand(load_space(name), parse_budget(budget)).draw(Random(0))


if __name__ == "__main__":
    main()
