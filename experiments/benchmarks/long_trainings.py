"""How well supernets of several seeds, and the first epochs of a training, rank networks that were trained for long.

    python -m experiments.benchmarks.long_trainings runs/cifar10-60MFLOPs/seed-0 runs/cifar10-60MFLOPs/seed-1 runs/cifar10-60MFLOPs/seed-2

The networks are those of `nas.compare` in the first directory that the searches' space has. Their test accuracies are the truth.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import combinations
from pathlib import Path

from experiments.benchmarks.compared import ComparedMember, compared_members
from experiments.benchmarks.parents import RESULTS, machine
from nas.audit.correlation import mean_ranks, rank_correlation
from nas.evaluators.bias_correction import shares_of
from nas.evaluators.supernet import load_evaluator
from nas.retrain.retrained import METRICS
from nas.runs.records.role import Role
from nas.runs.records.tables import markdown_table
from nas.train.supernet_run import SupernetRun, open_supernet_run
from space.files import write_atomically

EPOCHS = (1, 2, 5)
DRAWN = {Role.RANDOM, Role.EVEN_RANDOM}
FEWEST = 3
"""Networks that can be ranked."""
HALF = 0.5
"""Share of a network's blocks: networks that hold the operator of the best networks in so many are also ranked alone."""


@dataclass(frozen=True)
class Predictor:
    """What ranks the networks: a score for each, the greater the better."""

    name: str
    scores: list[float]


def main(argv: Sequence[str] | None = None) -> None:
    """Score every network with every supernet, and write the page; what is scored is not scored again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="directories of searches; the first one has the comparison")
    parser.add_argument("--epochs", type=int, nargs="+", default=list(EPOCHS), help="after which trainings are judged, too (1 2 5)")
    parser.add_argument("--output", type=Path, default=RESULTS / "cifar10-12k" / "60MFLOPs" / "ranking.md")
    args = parser.parse_args(argv)
    args.device, args.threads = "cpu", 1
    runs = [open_supernet_run(folder) for folder in args.runs]
    compared, members = compared_members(runs[0])
    supernets = [Predictor(f"supernet of {run.folder.name}", log_likelihoods(run, members)) for run in runs]
    text = "\n".join(page(args, members, supernets, compared.in_words)) + "\n"
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(args.output, text)
    print(text)


def log_likelihoods(run: SupernetRun, members: Sequence[ComparedMember]) -> list[float]:
    """Each network's mean log-likelihood (nats) with a supernet's weights, on that supernet's own search images."""
    file = run.folder / "compared-networks.json"
    found: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    missing = [one for one in members if one.record.fingerprint not in found]
    if missing:
        evaluator = load_evaluator(run)
        for one in missing:
            found[one.record.fingerprint] = evaluator(one.architecture).log_likelihood
            write_atomically(file, json.dumps(found))
            print(f"{run.folder.name}: {one.record.label}", flush=True)
    return [found[one.record.fingerprint] for one in members]


def after_epoch(member: ComparedMember, epoch: int) -> float:
    """The mean over seeds of a training's figure on its validation images after an epoch."""
    figures = []
    for seed in range(len(member.record.by_seed)):
        rows = list(csv.DictReader((member.training(seed) / METRICS).read_text().splitlines()))
        if not 1 <= epoch <= len(rows):
            raise SystemExit(f"--epochs: got {epoch}, expected 1 to {len(rows)}")
        figures.extend(float(value) for name, value in rows[epoch - 1].items() if name.startswith("validation_"))
    return sum(figures) / len(figures)


def predictors_of(members: Sequence[ComparedMember], supernets: Sequence[Predictor], epochs: Sequence[int]) -> list[Predictor]:
    """Supernets, the first epochs, and what costs nothing."""
    found = list(supernets)
    if len(supernets) > 1:
        found.append(Predictor(f"these {len(supernets)} supernets, ranks averaged", mean_ranks(*(one.scores for one in supernets))))
    found += [
        Predictor(f"validation after {epoch} epoch{'s' * (epoch > 1)}", [after_epoch(one, epoch) for one in members]) for epoch in epochs
    ]
    found.append(Predictor("multiply-adds", [float(one.record.macs) for one in members]))
    found.append(Predictor("parameters", [float(one.record.params) for one in members]))
    return found


def page(args: argparse.Namespace, members: Sequence[ComparedMember], supernets: Sequence[Predictor], how: str) -> list[str]:
    """The ranking by each predictor, as Markdown."""
    truth = [one.test for one in members]
    shares = shares_by_operator(members)
    by_tau = sorted(shares, key=lambda operator: -rank_correlation(shares[operator], truth).tau)
    sets = {
        f"all {len(members)}": list(range(len(members))),
        "the {} random ones": [place for place, one in enumerate(members) if one.record.role in DRAWN],
        f"the {{}} with at least half `{by_tau[0]}`": [place for place, share in enumerate(shares[by_tau[0]]) if share >= HALF],
    }

    def cells(scores: Sequence[float], of: Sequence[float] = truth) -> list[str]:
        return [_tau([scores[place] for place in places], [of[place] for place in places]) for places in sets.values()]

    headings = [f"tau, {name.format(len(places))}" for name, places in sets.items()]
    rows = [
        [one.name, *cells(one.scores), f"{100 * _first(one.scores, truth):.1f}"] for one in predictors_of(members, supernets, args.epochs)
    ]
    seeds = list(zip(*(one.record.by_seed for one in members), strict=True))
    rows += [[f"*test accuracy with seed {a} by seed {b}*", *cells(seeds[a], seeds[b]), ""] for a, b in combinations(range(len(seeds)), 2)]
    of_operators = [[f"`{one}`", str(sum(share > 0 for share in shares[one])), *cells(shares[one])] for one in by_tau]
    lines = [
        "# How supernets rank networks that were trained for long", "",
        f"    python -m experiments.benchmarks.long_trainings {' '.join(str(run) for run in args.runs)}", "",
        f"{machine(args)}, torch {metadata.version('torch')}. {len(members)} members of the space, trained alike ({how});",
        "the truth is their test accuracy. Tau is Kendall's, with 95 % intervals by bootstrap over networks.", "",
        *markdown_table(["predictor", *headings, f"test accuracy of its first, % (the best has {100 * max(truth):.1f})"], rows), "",
        "## What good networks share", "",
        "Tau of the test accuracy with the share of a network's blocks that hold an operator.", "",
        *markdown_table(["operator", "networks that hold it", *headings], of_operators),
    ]  # fmt: skip
    if len(supernets) > 1:
        between = [[f"{one.name}, {other.name}", *cells(one.scores, other.scores)] for one, other in combinations(supernets, 2)]
        lines += ["", "## Do supernets agree?", "", *markdown_table(["supernets", *headings], between)]
    return lines


def shares_by_operator(members: Sequence[ComparedMember]) -> dict[str, list[float]]:
    """The share of every network's blocks that hold an operator."""
    shares = [shares_of(one.architecture) for one in members]
    return {operator: [one.get(operator, 0.0) for one in shares] for operator in sorted({name for one in shares for name in one})}


def _tau(scores: Sequence[float], truth: Sequence[float]) -> str:
    if len(truth) < FEWEST:
        return ""
    found = rank_correlation(scores, truth)
    low, high = found.tau_interval
    return f"{found.tau:.2f} [{low:.2f}, {high:.2f}]"


def _first(scores: Sequence[float], truth: Sequence[float]) -> float:
    """The truth of the network with the greatest score."""
    return truth[max(range(len(scores)), key=scores.__getitem__)]


if __name__ == "__main__":
    main()
