"""Networks retrained alike and held beside each other: a search's winner, random members of its band, published networks.

A retraining is one job: a folder of its own, named by architecture and seed, where it is checkpointed and its result kept.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import mean

from nas.execution.jobs import Do, Workers
from nas.execution.loop import JobList, run_jobs
from nas.execution.threads import threads
from nas.retrain.recipe import Recipe
from nas.retrain.retraining import Retraining
from proxies.cost import Cost
from proxies.macs import cost_of
from space.architecture import Architecture
from space.files import write_atomically
from supernet.data.images import ImageSet
from supernet.intervals import difference_over_seeds, over_seeds


@dataclass(frozen=True)
class Contender:
    """A network that takes part.

    Args:
        label: what the table calls it.
        is_random: whether it was drawn at random inside the budget.
    """

    label: str
    architecture: Architecture
    is_random: bool = False

    @property
    def cost(self) -> Cost:
        """Multiply-adds and parameters."""
        return cost_of(self.architecture)


@dataclass(frozen=True)
class Run:
    """One contender's retraining with one seed."""

    contender: Contender
    seed: int

    def __str__(self) -> str:
        return f"retraining {self.contender.label}, seed {self.seed}"


@dataclass(frozen=True)
class Accuracies:
    """Shares of the test images that a contender tells rightly, one a seed."""

    contender: Contender
    by_seed: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over seeds."""
        return mean(self.by_seed)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the mean over seeds (Student's); none of one seed."""
        over = over_seeds(self.by_seed, None)
        return None if over is None else (over.low, over.high)

    def lead_of(self, other: Accuracies) -> tuple[float, tuple[float, float] | None]:
        """By how much the other's mean is greater, and its 95 % interval over seeds (Welch's); none of one seed."""
        lead = other.mean - self.mean
        if len(self.by_seed) < 2 or len(other.by_seed) < 2:
            return lead, None
        interval = difference_over_seeds(self.by_seed, other.by_seed)
        return lead, interval if isfinite(interval[0]) else (lead, lead)


@dataclass(frozen=True)
class Comparison:
    """What all retrainings share.

    Args:
        images, test_images: to train and validate on, and to test on.
        folder: of the retrainings' folders.
    """

    images: ImageSet
    test_images: ImageSet
    recipe: Recipe
    image_size: int
    folder: Path

    def retraining(self, architecture: Architecture, seed: int) -> Retraining:
        """One of them, not begun."""
        out = self.folder / f"{architecture.fingerprint}-{seed}"
        # Loading in other processes would take the cores of other trainings.
        return Retraining(architecture, self.recipe, self.images, self.test_images, self.image_size, seed, None, out, num_workers=0)

    def retrain(self, run: Run) -> float:
        """Do one retraining in this process, in one thread, or go on with it; its test accuracy."""
        retraining = self.retraining(run.contender.architecture, run.seed)
        retraining.out.mkdir(parents=True, exist_ok=True)
        with threads(1):
            test = retraining.run().test
        assert test is not None
        return test.accuracy


def retrainer(comparison: Comparison) -> Do:
    """What workers retrain with: `open_workers(partial(retrainer, comparison), ...)`."""
    return comparison.retrain


def compare(
    contenders: Sequence[Contender], seeds: int, workers: Workers, on_result: Callable[[Run, float], None]
) -> list[Accuracies]:
    """Retrain all contenders with so many seeds, from 0 on; best first.

    Args:
        contenders: distinct architectures.
        workers: that do it with `retrainer`.
    """
    found: dict[tuple[str, int], float] = {}

    def note(run: Run, accuracy: float) -> None:
        found[run.contender.architecture.fingerprint, run.seed] = accuracy
        on_result(run, accuracy)

    # Seed by seed, so that an interrupted comparison has all of the first.
    jobs = JobList([Run(contender, seed) for seed in range(seeds) for contender in contenders], str, note)
    run_jobs(jobs, workers)
    jobs.check()
    rows = [Accuracies(one, tuple(found[one.architecture.fingerprint, seed] for seed in range(seeds))) for one in contenders]
    return sorted(rows, key=lambda row: row.mean, reverse=True)


def median_of_random(rows: Sequence[Accuracies]) -> Accuracies | None:
    """The median, by mean accuracy, of those drawn at random; of an even number the lower one of the two."""
    drawn = [row for row in rows if row.contender.is_random]
    return sorted(drawn, key=lambda row: row.mean)[(len(drawn) - 1) // 2] if drawn else None


def table_of(rows: Sequence[Accuracies], found: Accuracies) -> list[list[str]]:
    """Headings and cells: what every contender costs and reaches, and by how much the winner of the search leads."""
    middle = median_of_random(rows)
    table = [["", "MFLOPs", "Mparams", "test accuracy, %", "by seed", f"{found.contender.label} leads by"]]
    for row in rows:
        label = f"{row.contender.label} (their median)" if row is middle else row.contender.label
        interval = "" if row.interval is None else " [{:.1f}, {:.1f}]".format(*(100 * end for end in row.interval))
        cost = row.contender.cost
        table.append(
            [
                label, f"{cost.macs / 1e6:.3g}", f"{cost.params / 1e6:.2f}", f"{100 * row.mean:.1f}{interval}",
                " ".join(f"{100 * accuracy:.1f}" for accuracy in row.by_seed), "" if row is found else _lead_in_words(row, found),
            ]
        )  # fmt: skip
    return table


def _lead_in_words(row: Accuracies, found: Accuracies) -> str:
    lead, interval = row.lead_of(found)
    return f"{100 * lead:+.1f}" + (f" [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]" if interval else "")


def write_comparison(folder: Path, table: Sequence[Sequence[str]], rows: Sequence[Accuracies], about: Mapping[str, str]) -> None:
    """Write `comparison.md`, and `comparison.csv` with a row a retraining."""
    lines = ["# Retrained alike", "", *(f"- {name}: {value}" for name, value in about.items()), ""]
    lines += [f"| {' | '.join(cells)} |" for cells in (table[0], ["---"] * len(table[0]), *table[1:])]
    write_atomically(folder / "comparison.md", "\n".join(lines) + "\n")
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("network", "fingerprint", "macs", "params", "seed", "test_accuracy"))
    for row in rows:
        architecture, cost = row.contender.architecture, row.contender.cost
        for seed, accuracy in enumerate(row.by_seed):
            writer.writerow((row.contender.label, architecture.fingerprint, cost.macs, cost.params, seed, accuracy))
    write_atomically(folder / "comparison.csv", text.getvalue())
