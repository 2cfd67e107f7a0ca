"""Which judge ranks fine-tuned networks better: a supernet that began with trained weights, or some steps of fine-tuning from them.

    python -m experiments.benchmarks.judges runs/mine

The networks are those of `nas.compare runs/mine --from supernet` that the search's space has. Their test accuracies are the truth.
What is judged is not judged again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
from torch import Tensor

from experiments.benchmarks.compared import compared_members
from experiments.benchmarks.parents import RESULTS, machine
from nas.audit.correlation import advantage, rank_correlation
from nas.evaluators.supernet import SupernetEvaluator, load_evaluator
from nas.train.supernet_run import SupernetRun, open_supernet_run
from space.architecture import Architecture
from space.files import write_atomically
from space.network import TokenMixerNet
from supernet.evaluation import judge
from supernet.training.config import TrainConfig
from supernet.training.loop import train_network

STEPS = (20, 60)
LR = 5e-4
"""The peak learning rate of the recipe finetune-short."""


@dataclass(frozen=True)
class Judged:
    """A network: its test accuracy after fine-tuning, and for each judge its log-likelihood and processor seconds."""

    label: str
    test: float
    scores: dict[str, tuple[float, float]]


def main(argv: Sequence[str] | None = None) -> None:
    """Judge every network, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="directory of a search that began with trained weights")
    parser.add_argument("--steps", type=int, nargs="+", default=list(STEPS), help="of fine-tuning (20 60)")
    parser.add_argument("--output", type=Path, default=RESULTS / "transfer" / "judges.md")
    args = parser.parse_args(argv)
    args.device, args.threads = "cpu", 1
    run = open_supernet_run(args.run)
    compared, members = compared_members(run)
    evaluator = load_evaluator(run)
    judged = []
    for member in members:
        file = member.folder / f"{member.record.fingerprint}-judged-{'-'.join(map(str, args.steps))}.json"
        if not file.exists():
            write_atomically(file, json.dumps(scores_of(member.architecture, run, evaluator, args.steps)))
        judged.append(Judged(member.record.label, member.test, json.loads(file.read_text())))
    text = "\n".join(page(args, judged, compared.in_words)) + "\n"
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(args.output, text)
    print(text)


def scores_of(
    architecture: Architecture, run: SupernetRun, evaluator: SupernetEvaluator, steps: Sequence[int]
) -> dict[str, tuple[float, float]]:
    """Log-likelihood on the search images and processor seconds, by judge."""
    start = time.process_time()
    found = {"shared weights": (evaluator(architecture).log_likelihood, time.process_time() - start)}
    images, splits = run.images()
    search = run.search_batches()
    for number in steps:
        start = time.process_time()
        network = evaluator.network(architecture).train().requires_grad_()
        batches = run.task.training_batches(images, splits.train, 32, run.image_size, run.seed, num_workers=0)
        recipe = TrainConfig(number, lr=LR, warmup_steps=number // 10, label_smoothing=0.0, seed=run.seed)
        train_network(network, partial(_forward, network), batches, recipe)
        score = judge(network.eval(), search, run.task).score
        found[f"{number} steps of fine-tuning"] = (score.log_likelihood, time.process_time() - start)
    return found


def _forward(network: TokenMixerNet, _: int, images_BCHW: Tensor) -> Tensor:
    return network(images_BCHW)


def page(args: argparse.Namespace, judged: Sequence[Judged], how: str) -> list[str]:
    """The ranking of each judge, as Markdown."""
    truth = [one.test for one in judged]
    first, *others = judged[0].scores
    shared = [one.scores[first][0] for one in judged]
    lines = [
        "# Which judge ranks fine-tuned networks better", "",
        f"`python -m experiments.benchmarks.judges {args.run.name}`:",
        f"{machine(args)}, torch {metadata.version('torch')}. {len(judged)} members of the space, fine-tuned alike ({how}); the truth is",
        "their test accuracy. Tau is Kendall's, with 95 % intervals by bootstrap over networks.", "",
        "| judge | tau | more than shared weights | processor s a network |", "|---|---|---|---|",
    ]  # fmt: skip
    for name in (first, *others):
        scores = [one.scores[name][0] for one in judged]
        found = rank_correlation(scores, truth)
        lead, (low, high) = advantage(scores, shared, truth)
        more = "" if name == first else f"{lead:+.2f} ({low:+.2f} to {high:+.2f})"
        seconds = float(np.mean([one.scores[name][1] for one in judged]))
        lines.append(f"| {name} | {found.tau:.2f} ({found.tau_interval[0]:.2f} to {found.tau_interval[1]:.2f}) | {more} | {seconds:.1f} |")
    return lines


if __name__ == "__main__":
    main()
