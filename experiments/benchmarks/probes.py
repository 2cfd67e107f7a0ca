"""Which mixer wins on which task of `probes`: networks of one mixer each, at equal multiply-adds, trained alone.

    python -m experiments.benchmarks.probes

Of every mixer that `hybrid-32` offers, some networks are drawn that hold no other, no DPE, and plain MLPs, so that nothing else
mixes tokens but the stem and the downsampling; all cost 90 to 100 % of one budget. The same networks learn every task, in the
same number of steps. An interrupted run goes on.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from nas.progress import phase
from nas.standalone import Conditions, Training, default_workers, in_processes, train_all
from nas.supernet_run import SupernetRun
from proxies.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from space.architecture import Architecture
from space.files import load_space, write_atomically
from space.search_space import SearchSpace
from supernet.probes import TASKS

RESULTS = Path(__file__).parents[1] / "results"
MADE_FOR = {"texture": ("local_mhra",), "pairs": ("global_mhra",), "counts": ("ssa",), "channels": ("channel_group",)}
"""By task, the mixers that ought to win."""


def main(argv: Sequence[str] | None = None) -> None:
    """Train what is not trained yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="20MFLOPs")
    parser.add_argument("--networks", type=int, default=3, help="of each mixer")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--folder", type=Path, default=Path("runs/probes"), help="of the trainings")
    parser.add_argument("--output", type=Path, default=RESULTS / "probes.md")
    config = parser.parse_args(argv)
    hybrid = load_space("hybrid-32")
    mixers = sorted({mixer.type for of_stage in hybrid.mixers for mixer in of_stage})
    networks = {mixer: drawn(only(hybrid, mixer), config.budget, config.networks) for mixer in mixers}
    accuracies: dict[tuple[str, str], list[float]] = {}
    with phase("trainings", len(config.tasks) * len(mixers) * config.networks) as advance:
        for task in config.tasks:
            run = SupernetRun.on_data(config.folder, hybrid, f"probes/{task}", None, seed=0)
            conditions = Conditions(run, config.batch_size, config.folder / task)
            trainings = {
                Training(architecture.replace(num_classes=run.space.num_classes), config.steps, seed): mixer
                for mixer, architectures in networks.items()
                for seed, architecture in enumerate(architectures)
            }

            def note(training: object, result: object) -> None:
                advance()

            for training, result in train_all(conditions, list(trainings), in_processes(config.workers), note).items():
                accuracies.setdefault((trainings[training], task), []).append(result.score.accuracy)
    lines = [
        "# Which mixer wins where", "",
        f"    python -m experiments.benchmarks.probes --budget {config.budget} --networks {config.networks} --steps {config.steps} "
        f"--batch-size {config.batch_size}", "",
        f"Accuracy in % on search images of `probes`, four classes a task: the mean over {config.networks} networks of one mixer each, and "
        "its least and greatest. In bold the mixer that the task was made for.", "",
        f"| mixer | {' | '.join(config.tasks)} |", f"|---|{'---|' * len(config.tasks)}",
        *(f"| {mixer} | {' | '.join(cell(mixer, task, accuracies[mixer, task]) for task in config.tasks)} |" for mixer in mixers),
    ]  # fmt: skip
    text = "\n".join(lines) + "\n"
    write_atomically(config.output, text)
    print(text)


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
