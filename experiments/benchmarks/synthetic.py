"""Whether embedded images tell architectures apart, and which mixer wins on which task of `synthetic`.

    python -m experiments.benchmarks.synthetic

Spread: architectures drawn from the budget's band of `hybrid-32` learn each set with two seeds; how far they differ is held against
how far the seeds of one differ. Mixers: of every mixer that `hybrid-32` offers, some networks are drawn that hold no other, no DPE, and
plain MLPs, so that nothing else mixes tokens but the stem and the downsampling; all cost 90 to 100 % of one budget. The same networks
learn every task, in the same number of steps. Everything is trained alone and scored on images that no training saw. An interrupted
run goes on.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np

from nas.audit.correlation import Spread, spread_of
from nas.cli.progress import Advance, phase
from nas.evaluators.standalone import train_all, training_alone
from nas.evaluators.trainings import Conditions, Trained, Training
from nas.execution.resources import Resources
from nas.execution.workers import open_workers
from nas.train.supernet_run import SupernetRun
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from space.architecture import Architecture
from space.files import load_space, write_atomically
from space.search_space import SearchSpace
from supernet.data.synthetic import TASKS

RESULTS = Path(__file__).parents[1] / "results"
MADE_FOR = {"texture": ("local_mhra",), "pairs": ("global_mhra",), "counts": ("ssa",), "channels": ("channel_group",)}
"""By task, the mixers that ought to win."""


SETS = ("digits", "synthetic")
SEEDS = 2


def main(argv: Sequence[str] | None = None) -> None:
    """Train what is not trained yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="20MFLOPs")
    parser.add_argument("--architectures", type=int, default=16, help="whose spread is measured")
    parser.add_argument("--networks", type=int, default=2, help="of each mixer")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, default=Path("runs/synthetic"), help="of the trainings")
    parser.add_argument("--output", type=Path, default=RESULTS / "synthetic.md")
    config = parser.parse_args(argv)
    hybrid = load_space("hybrid-32")
    mixers = sorted({mixer.type for of_stage in hybrid.mixers for mixer in of_stage})
    networks = {mixer: drawn(only(hybrid, mixer), config.budget, config.networks) for mixer in mixers}
    spreads = {}
    sample = drawn(hybrid, config.budget, config.architectures)
    with phase("spread", len(SETS) * SEEDS * len(sample)) as advance:
        for name in SETS:
            spreads[name] = spread(config, hybrid, name, sample, advance)
    accuracies: dict[tuple[str, str], list[float]] = {}
    with phase("trainings", len(config.tasks) * len(mixers) * config.networks) as advance:
        for task in config.tasks:
            run = SupernetRun.on_data(config.folder, hybrid, f"synthetic/{task}", None, seed=0)
            conditions = Conditions(run, config.batch_size, config.folder / task)
            trainings = {
                Training(architecture.replace(num_classes=run.space.num_classes), config.steps, seed): mixer
                for mixer, architectures in networks.items()
                for seed, architecture in enumerate(architectures)
            }

            for training, result in trained(conditions, list(trainings), config.workers, advance).items():
                accuracies.setdefault((trainings[training], task), []).append(result.score.value)
    lines = [
        "# What embedded images tell apart", "",
        f"    python -m experiments.benchmarks.synthetic --budget {config.budget} --architectures {config.architectures} "
        f"--networks {config.networks} --steps {config.steps} --batch-size {config.batch_size}", "",
        f"Standard deviations of log-likelihood after {config.steps} steps of {config.batch_size} images, between {config.architectures} "
        f"architectures of the {config.budget} band of hybrid-32, without what seeds add, and between {SEEDS} seeds of one of them.", "",
        "| set | architectures | seeds | ratio | mean accuracy, % |", "|---|--:|--:|--:|--:|",
        *(f"| {name} | {found.architectures:.3f} | {found.seeds:.3f} | {found.architectures / found.seeds:.1f} | {100 * accuracy:.0f} |"
          for name, (found, accuracy) in spreads.items()), "",
        f"Accuracy in % on search images of `synthetic`, four classes a task: the mean over {config.networks} networks of one mixer, and "
        "its least and greatest. In bold the mixer that the task was made for.", "",
        f"| mixer | {' | '.join(config.tasks)} |", f"|---|{'---|' * len(config.tasks)}",
        *(f"| {mixer} | {' | '.join(cell(mixer, task, accuracies[mixer, task]) for task in config.tasks)} |" for mixer in mixers),
    ]  # fmt: skip
    text = "\n".join(lines) + "\n"
    write_atomically(config.output, text)
    print(text)


def spread(
    config: argparse.Namespace, space: SearchSpace, name: str, sample: Sequence[Architecture], advance: Advance
) -> tuple[Spread, float]:
    """How far architectures and seeds differ on a set, and the mean accuracy."""
    run = SupernetRun.on_data(config.folder, space, name, None, seed=0)
    conditions = Conditions(run, config.batch_size, config.folder / name)
    trainings = [
        [Training(architecture.replace(num_classes=run.space.num_classes), config.steps, seed) for architecture in sample]
        for seed in range(SEEDS)
    ]
    done = trained(conditions, [one for of_seed in trainings for one in of_seed], config.workers, advance)
    by_seed = np.array([[done[training].score.log_likelihood for training in of_seed] for of_seed in trainings])
    return spread_of(by_seed), mean(result.score.value for result in done.values())


def trained(conditions: Conditions, trainings: Sequence[Training], num_workers: int, advance: Advance) -> dict[Training, Trained]:
    """Do the trainings, or find them done."""
    found: dict[Training, Trained] = {}

    def note(training: Training, result: Trained, was_done: bool) -> None:
        found[training] = result
        advance()

    with open_workers(partial(training_alone, conditions), Resources(num_workers), conditions.folder / "ray") as workers:
        train_all(conditions, trainings, workers, note).check()
    return found


def only(space: SearchSpace, mixer: str) -> SearchSpace:
    """The space without other mixers, and without positions and feed-forward networks that mix tokens."""
    stages = []
    for stage in space.stages:
        fewer = {"mixers": tuple(spec for spec in stage.mixers if spec.type == mixer)}
        fewer |= {"positions": tuple(spec for spec in stage.positions if spec.type == "none")}
        fewer |= {"ffns": tuple(spec for spec in stage.ffns if spec.type == "mlp")}
        stages.append(stage.model_copy(update=fewer))
    return space.replace(name=f"{space.name}-{mixer}", stages=tuple(stages))


def drawn(space: SearchSpace, budget: str, count: int) -> list[Architecture]:
    """So many distinct members of the budget's band."""
    band, rng = ArchitectureBand(space, parse_budget(budget)), random.Random(space.name)
    found: dict[str, Architecture] = {}
    for _ in range(1000):
        architecture = band.draw(rng)
        found.setdefault(architecture.fingerprint, architecture)
        if len(found) == count:
            break
    return list(found.values())


def cell(mixer: str, task: str, accuracies: Sequence[float]) -> str:
    """Mean, least and greatest, in bold for what the task was made for."""
    text = f"{100 * mean(accuracies):.0f} ({100 * min(accuracies):.0f} to {100 * max(accuracies):.0f})"
    return f"**{text}**" if mixer in MADE_FOR[task] else text


if __name__ == "__main__":
    main()
