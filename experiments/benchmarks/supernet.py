"""Time and peak memory of a supernet's training step on one path, relative to the same step of that path's plain network.

    python -m experiments.benchmarks.supernet

A step is forward, backward, clipping and AdamW on one batch. The two kinds of steps alternate, each pair on another architecture of the
space, as in training, so the preparation of a path is counted. The first round through the architectures warms up both kinds.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from timm.optim import create_optimizer_v2
from torch import Tensor, nn

from experiments.benchmarks.parents import RESULTS, machine, peak_bytes, seconds_of
from space.architecture import Architecture
from space.files import load_space, write_atomically
from space.network import build_network
from space.search_space import SearchSpace
from supernet.network import Supernet
from supernet.path_training import PathTraining
from supernet.paths import Strategy
from supernet.sampling_domain import whole_space
from supernet.slices import update

CASES = ("hybrid-32:32", "hybrid-32:64", "hybrid-32:128", "hybrid-224:32")
NUM_ARCHITECTURES = 20
"""More than a supernet caches, so that every step prepares its path."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""Of logits and targets; a scalar."""


@dataclass(frozen=True)
class Row:
    """Medians of a case: milliseconds of the plain step, ratios of the supernet's to it; the greatest ratio of peak memories."""

    case: str
    plain_ms: float
    time: float
    quartiles: tuple[float, float]
    memory: float
    pairs: int


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all cases; the table is written anew after each, so that stopping loses nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="SPACE:BATCH")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds through all architectures")
    parser.add_argument("--architectures", type=int, default=NUM_ARCHITECTURES)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=RESULTS / "supernet-step.md")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    rows: list[Row] = []
    for case in args.cases:
        rows.append(measure(case, args))
        print(rows[-1], flush=True)
        write_atomically(args.output, table(rows, args))


def measure(case: str, args: argparse.Namespace) -> Row:
    """All pairs of a case."""
    name, _, batch = case.partition(":")
    space, rng = load_space(name), random.Random(0)
    architectures = [space.sample(rng) for _ in range(args.architectures)]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(int(batch), space.in_chans, space.image_size, space.image_size, generator=generator).to(args.device)
    labels = torch.randint(space.num_classes, (int(batch),), generator=generator).to(args.device)
    supernet_step = step_of_supernet(space, architectures, images, labels)
    plain_steps = [step_of_network(architecture, images, labels) for architecture in architectures]
    pairs = []
    for number in range(args.rounds + 1):
        for index, plain_step in enumerate(plain_steps):
            supernet = seconds_of(lambda index=index: supernet_step(index), 1, args.device)  # type: ignore[misc]
            plain = seconds_of(plain_step, 1, args.device)
            if number:
                pairs.append((supernet, plain))
    ratios = [supernet / plain for supernet, plain in pairs]
    some = range(0, len(architectures), max(1, len(architectures) // 4))
    memory = max(
        peak_bytes(lambda index=index: supernet_step(index), args.device) / peak_bytes(plain_steps[index], args.device)  # type: ignore[misc]
        for index in some
    )
    low, median, high = statistics.quantiles(ratios, n=4)
    return Row(case, 1000 * statistics.median(plain for _, plain in pairs), median, (low, high), memory, len(pairs))


def step_of_network(architecture: Architecture, images: Tensor, targets: Tensor, loss: Loss = F.cross_entropy) -> Callable[[], None]:
    """One step of a plain network, as anyone would write it."""
    network = build_network(architecture).to(images.device).train()
    optimizer = create_optimizer_v2(network, "adamw", lr=1e-4, weight_decay=0.05, fused=True)

    def step() -> None:
        loss(network(images), targets).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def step_of_supernet(
    space: SearchSpace, architectures: Sequence[Architecture], images: Tensor, labels: Tensor
) -> Callable[[int], None]:
    """One step of the supernet on one of the architectures."""
    sequence = Strategy(lambda domain, seed: lambda step: (architectures[step],), num_paths=lambda space: 1)
    training = PathTraining(Supernet(space), sequence, whole_space(space), 0).to(images.device).train()
    optimizer = create_optimizer_v2(training, "adamw", lr=1e-4, weight_decay=0.05, fused=True)
    parameters, found_inf = dict(training.named_parameters()), torch.zeros((), device=images.device)

    def step(index: int) -> None:
        for logits in training(index, images):
            F.cross_entropy(logits, labels).backward()
        trained = training.slices.with_gradients(parameters)
        nn.utils.clip_grad_norm_([one.view for one in trained], 5.0)
        update(optimizer, trained, found_inf)
        training.slices.clear(trained)

    return step


def table(rows: Sequence[Row], args: argparse.Namespace) -> str:
    """All results as Markdown."""
    lines = [
        "# A supernet's step beside its plain network's",
        "",
        f"`python -m experiments.benchmarks.supernet --cases {' '.join(args.cases)} --architectures {args.architectures}"
        f" --rounds {args.rounds} --threads {args.threads}`:",
        f"{machine(args)}, torch {torch.__version__}, fp32.",
        "Times of a whole step on one path; ratios are medians of pairs, with quartiles. Memory is the most that tensors take during a",
        "step beyond what was there before it, the greatest ratio of five architectures. Aim: at most 1.05 and 1.3.",
        "",
        "| space : batch | plain step, ms | supernet / plain | quartiles | peak memory | pairs |",
        "|---|--:|--:|---|--:|--:|",
    ]
    for row in rows:
        cells = [row.case, f"{row.plain_ms:.0f}", f"{row.time:.3f}", "{:.3f} to {:.3f}".format(*row.quartiles), f"{row.memory:.2f}"]
        lines.append(f"| {' | '.join([*cells, str(row.pairs)])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
