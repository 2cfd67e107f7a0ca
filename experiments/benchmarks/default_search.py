"""What the default search finds: test figures of its winner and of those it is held against, and how far random candidates differ.

    python -m experiments.benchmarks.default_search --output experiments/results/default-search.md

Searches run one after another, one a seed, as `python -m nas.search --budget BUDGET` does; nothing else should run on the machine.
What an interrupted run has finished is not done again. Words after `--` are further options of the search.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import mean, stdev

from experiments.benchmarks.commands import cores, processor
from nas.report.final_training import figure_of, is_ahead
from nas.runs.directory import name_of_run, storage_of_run
from nas.runs.records.halving import CandidateRecord, HalvingRecord, read_halving
from nas.study.record import StudyRecord, open_study
from space.files import write_atomically

SECONDS = "seconds.json"
GOALS = {"winner's accuracy, %": "below 95", "spread / error": "at least 3", "minutes": "at most 10"}


@dataclass(frozen=True)
class Searched:
    """A search that has ended.

    Args:
        seconds: of each start of the command; several where it was interrupted.
    """

    seed: int
    study: StudyRecord
    halving: HalvingRecord
    seconds: Sequence[float]

    @property
    def minutes(self) -> float:
        """Of all starts together."""
        return sum(self.seconds) / 60


def main(argv: Sequence[str] | None = None) -> None:
    """Search as far as that is not done, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budget", default="4.5GFLOPs")
    parser.add_argument("--folder", type=Path, default=Path("runs/default-search"), help="where the searches lie (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "results" / "default-search.md")
    parser.add_argument("options", nargs="*", help="further options of nas.search")
    config = parser.parse_args(argv)
    found = [searched(config.folder / f"seed-{seed}", seed, ["--budget", config.budget, *config.options]) for seed in config.seeds]
    text = page(found, " ".join(["python -m nas.search --budget", config.budget, *config.options]))
    config.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(config.output, text)
    print(text)


def searched(run: Path, seed: int, options: Sequence[str]) -> Searched:
    """A search, done here where it has not ended before."""
    times = run.with_name(f"{run.name}-{SECONDS}")
    seconds: list[float] = json.loads(times.read_text()) if times.exists() else []
    if not (run / "report.html").exists():
        run.parent.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        command = [sys.executable, "-m", "nas.search", *options, "--seed", str(seed), "--out", str(run)]
        ended = subprocess.run(command, check=False)
        seconds.append(time.monotonic() - start)
        write_atomically(times, json.dumps(seconds))
        if ended.returncode:
            raise SystemExit(f"{run}: the search ended with exit code {ended.returncode}; the same command continues it")
    halving = read_halving(run)
    if halving is None or not halving.finished:
        raise SystemExit(f"{run}: got no final training, expected a search with one")
    return Searched(seed, open_study(storage_of_run(run), name_of_run(run)), halving, seconds)


def page(found: Sequence[Searched], command: str) -> str:
    """What was found, as Markdown."""
    halving = found[0].halving
    how = f"{halving.steps[-1]} steps, {len(halving.winner.rungs[-1])} seeds each"
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "timm", "optuna"))
    columns: Mapping[str, Sequence[str]] = {
        "seed": [str(one.seed) for one in found],
        f"winner's {halving.metric}, %": [shown(one.halving.winner) for one in found],
        "published": [
            "; ".join(f"{other.label} {shown(other)}" for other in one.halving.candidates if not other.competes) for one in found
        ],
        "random": ["; ".join(shown(other) for other in one.halving.candidates if other.label.endswith("random")) for one in found],
        "winner leads": ["yes" if is_ahead(one.halving) else "no" for one in found],
        "spread / error": [spread(one) for one in found],
        "minutes": [f"{one.minutes:.1f}" + (f" in {len(one.seconds)} starts" if len(one.seconds) > 1 else "") for one in found],
    }
    rows = ["| " + " | ".join(row) + " |" for row in zip(*columns.values(), strict=True)]
    lines = [
        "# What the default search finds", "",
        f"    {command}", "",
        "Made by `python -m experiments.benchmarks.default_search`, which runs this for each seed.",
        f"Machine: {processor()}, {len(cores())} cores. Python {platform.python_version()}, {packages}.", "",
        "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns), *rows,
        "| goal | " + " | ".join(GOALS.get(name, "") for name in list(columns)[1:]) + " |", "",
        f"**{halving.metric.capitalize()}** is that of test images, which decide nothing: the winner, the best published network within "
        f"the budget and an architecture that was drawn at random are trained alike from scratch ({how}). In brackets 95 % intervals "
        "(Wilson, over images). The winner leads where it is ahead of both by two standard errors.", "",
        "**Spread / error** is the standard deviation of the scores of the random candidates over their mean standard error: in "
        "log-likelihood, by which the search ranks, and in brackets in accuracy. Candidates are scored on the same images, so their "
        "differences are more certain than the errors suggest.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def shown(one: CandidateRecord) -> str:
    """A test figure in per cent with its interval."""
    if not one.test:
        return "not measured"
    figure = figure_of(one.test)
    return f"{100 * figure.share:.1f} ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def spread(one: Searched) -> str:
    """How far the random candidates of a search differ, in standard errors of their scores."""
    scores = [result.score for result in one.study.random_draws()]
    if len(scores) < 2:
        return "too few"
    by_likelihood = stdev(score.log_likelihood for score in scores) / mean(score.log_likelihood_stderr for score in scores)
    by_value = stdev(score.value for score in scores) / mean(score.stderr for score in scores)
    return f"{by_likelihood:.1f} ({by_value:.1f})"


if __name__ == "__main__":
    main()
