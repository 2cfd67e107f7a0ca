"""How many evaluations samplers need inside a budget: ours, Optuna's, and aging evolution, on made-up tables.

    python -m experiments.benchmarks.samplers

Searches made by `sampler_problems.py` and `cell_problems.py`: a mini-space and a cell with all members known, where evaluations to the
top are counted; staged spaces of 40 slots with few and with many interactions and a space of sizes, where the gap to the best known
member is measured after 200 evaluations. Samplers that know no budget are shown twice: "strict" charges each of their trials, "lenient"
those alone that are new and inside. Counts do not depend on the machine; times do, and are measured at the end, one after another.
Searches that have ended are kept in a file next to the output until that is written, so that the same command continues after a stop.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import multiprocessing
import os
import platform
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from rich.progress import track

from experiments.benchmarks.cell_problems import cell_problem
from experiments.benchmarks.commands import cores, processor
from experiments.benchmarks.sampler_problems import GENTLE, RUGGED, Problem, all_rows, mini_problem, sizes_problem, staged_problem
from nas.samplers.by_name import make_sampler, sampler_names
from nas.samplers.evolution import AgingEvolutionSampler
from nas.samplers.in_band import InBandSampler
from nas.samplers.variation import offspring
from proxies.band.band import Band
from proxies.band.enumerated import band_of
from space.files import write_atomically

RESULTS = Path(__file__).parents[1] / "results"
FIRST_INSTANCE = 200
"""Instances below were used to choose the samplers' settings."""
MAX_EVALUATIONS = 300
"""Of a search for the top; one that has not found it counts as having needed so many."""
STAGED_EVALUATIONS = 200
MAX_TRIALS = 400
"""Of a lenient search, that is of trials that cost nothing."""
TOPS = (0.001, 0.01)
TAILS = (0.1, 0.01, 0.001)
STAGED = {"staged": GENTLE, "staged, rugged": RUGGED}
SIZES = "sizes"
LIMITS = {"FLOPs": ("macs",), "FLOPs+latency": ("macs", "latency")}
LISTED: dict[str, dict[str, Callable[[int], Problem]]] = {
    "mini-space": {name: functools.partial(mini_problem, limits=limits) for name, limits in LIMITS.items()},
    "cell": {
        f"{size} {name}": functools.partial(cell_problem, limits=limits, size=size)
        for size in ("small", "large")
        for name, limits in LIMITS.items()
    },
}
"""Problems by kind and column, whose members are all known."""

Make = Callable[[Band, int], optuna.samplers.BaseSampler]
Job = tuple[str, str, str, int, int]
"""A sampler, a kind of problem, its limits or its tail, its instance, and trials at most."""
Outcome = tuple[Job, list[list[float]], tuple[float, float]]
"""Figures, strict ones and lenient ones, and shares of trials outside and repeated."""


def _ours(name: str) -> Make:
    return lambda band, seed: make_sampler(name, band, seed)


def _aging(band: Band, seed: int) -> optuna.samplers.BaseSampler:
    return AgingEvolutionSampler(band, seed, population=50, tournament=10, crossover=0.0, max_edits=1)


OURS: dict[str, Make] = {name: _ours(name) for name in sampler_names()}
AGING = "aging evolution, population 50"
KNOW_THE_BAND = {*OURS, AGING}
SAMPLERS: dict[str, Make] = {
    **OURS,
    AGING: _aging,
    "Optuna TPE": lambda band, seed: optuna.samplers.TPESampler(seed=seed),
    "Optuna NSGA-II": lambda band, seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=20),
    "Optuna random": lambda band, seed: optuna.samplers.RandomSampler(seed=seed),
    "Optuna GP": lambda band, seed: optuna.samplers.GPSampler(seed=seed),
}
SLOW = {"Optuna GP": 60}
"""Samplers that take a second a proposal, and trials after which they are stopped."""


@dataclass(frozen=True)
class Search:
    """What a sampler did: canonical rows of all its trials, which of them lie inside, and which were new."""

    rows: NDArray[np.int64]
    inside: NDArray[np.bool_]
    new: NDArray[np.bool_]

    def charged(self, lenient: bool) -> NDArray[np.int64]:
        """Places of the trials that are charged."""
        return np.flatnonzero(self.inside & self.new) if lenient else np.arange(len(self.rows))

    @property
    def wasted(self) -> tuple[float, float]:
        """The shares of trials outside, and of those that had been before."""
        return 1 - float(self.inside.mean()), 1 - float(self.new.mean())


def search(
    sampler: str, problem: Problem, band: Band, seed: int, charged: int, max_trials: int, is_done: Callable[[bytes], bool]
) -> Search:
    """Run a study until it has so many new members inside, so many trials, or a member that ends it.

    A trial outside the band gets the worst score observed so far, and its constraint's value.
    """
    study = optuna.create_study(sampler=SAMPLERS[sampler](band, seed), direction="maximize")
    rows, inside, new = [], [], []
    scores: dict[bytes, float] = {}
    for _ in range(max_trials):
        trial = study.ask()
        parameters = {name: trial.suggest_categorical(name, options) for name, options in problem.space.slots.items()}
        row = problem.rows.row(parameters)
        key = row.tobytes()
        rows.append(row)
        inside.append(bool(band.admits(row[None])[0]))
        new.append(key not in scores)
        if inside[-1]:
            scores.setdefault(key, problem.score(row))
        if sampler not in KNOW_THE_BAND:
            amounts = dict(zip(problem.budget.limits, band.costs(row[None])[0].tolist(), strict=True))
            trial.set_constraint("budget", problem.budget.excess(amounts))
        study.tell(trial, scores[key] if inside[-1] else min(scores.values(), default=0.0))
        if (inside[-1] and is_done(key)) or len(scores) >= charged:
            break
    return Search(np.array(rows), np.array(inside), np.array(new))


@functools.cache
def listed(kind: str, column: str, instance: int) -> tuple[Problem, Band, dict[bytes, float]]:
    """A problem whose members are all known, its band, and by member the share of members that are better."""
    problem = LISTED[kind][column](instance)
    band = band_of(problem.space, problem.cost, problem.budget)
    members = all_rows(problem.rows)
    members = members[band.admits(members)]
    truth = problem.truth(members)
    shares = np.searchsorted(np.sort(-truth), -truth) / len(members)
    return problem, band, {row.tobytes(): share for row, share in zip(members, shares.tolist(), strict=True)}


def to_the_top(job: Job) -> Outcome:
    """Evaluations to each top."""
    sampler, kind, column, instance, max_trials = job
    problem, band, share = listed(kind, column, instance)
    # At least one member is the top, however few there are.
    tops = [max(top, 1 / len(share)) for top in TOPS]
    done = search(sampler, problem, band, instance, MAX_EVALUATIONS, SLOW.get(sampler, max_trials), lambda key: share[key] < tops[0])
    needed = []
    for lenient in (False, True):
        found = [share.get(done.rows[place].tobytes(), 1.0) for place in done.charged(lenient)]
        first = [next((n for n, one in enumerate(found, 1) if one < top), MAX_EVALUATIONS) for top in tops]
        needed.append([float(min(n, MAX_EVALUATIONS)) for n in first])
    return job, needed, done.wasted


@functools.cache
def staged(kind: str, tail: str, instance: int) -> tuple[Problem, Band, float]:
    """A staged problem or one of sizes, its band, and the best score that a long search without noise finds."""
    problem = sizes_problem(instance) if kind == SIZES else staged_problem(instance, float(tail), STAGED[kind])
    band = Band(problem.space, problem.cost, problem.budget)
    return problem, band, best_known(problem, band)


def best_known(problem: Problem, band: Band, restarts: int = 3, generations: int = 80, population: int = 150) -> float:
    """The greatest score without noise that evolution with a large population finds, several times."""
    best = -np.inf
    for restart in range(restarts):
        draws = random.Random(f"{problem.instance}/{restart}")
        rng = np.random.default_rng(draws.getrandbits(64))
        rows = np.array([band.sample(draws) for _ in range(population)])
        for _ in range(generations):
            first, second = rows[rng.integers(len(rows), size=(2, 2 * population))]
            mutants = offspring(band, first, second, 2 * population, rng)
            crossed = offspring(band, first[:population], second[:population], 0, rng)
            rows = np.unique(np.concatenate((rows, mutants, crossed)), axis=0)
            rows = rows[np.argsort(-problem.truth(rows), kind="stable")[:population]]
        best = max(best, float(problem.truth(rows[:1])[0]))
    return best


def gap(job: Job) -> Outcome:
    """What the member of greatest score lacks to the best known one after 200 evaluations, in points without noise."""
    sampler, kind, tail, instance, max_trials = job
    problem, band, best = staged(kind, tail, instance)
    done = search(sampler, problem, band, instance, STAGED_EVALUATIONS, SLOW.get(sampler, max_trials), lambda _: False)
    gaps = []
    for lenient in (False, True):
        found = done.rows[[place for place in done.charged(lenient)[:STAGED_EVALUATIONS] if done.inside[place]]]
        if len(found):
            reached = problem.truth(found[[np.argmax([problem.score(row) for row in found])]])[0]
        else:  # As good as any member.
            reached = problem.truth(np.array([band.sample(random.Random(n)) for n in range(50)])).mean()
        gaps.append([best - float(reached)])
    return job, gaps, done.wasted


def milliseconds(sampler: str, num_finished: int, proposals: int = 40) -> list[float]:
    """Processor times of proposals, storing left out, in a study of `num_finished` trials."""
    band, study = _finished(num_finished)
    trials = study.get_trials(deepcopy=False)
    made = SAMPLERS[sampler](band, 0)
    assert isinstance(made, InBandSampler)
    # Reads all trials but the last, once.
    made.choose(study, trials[:-proposals], len(trials) - proposals)
    times = []
    for index in range(len(trials) - proposals + 1, len(trials) + 1):
        known = trials[:index]
        start = time.process_time()
        made.choose(study, known, index)
        times.append(1000 * (time.process_time() - start))
    return times


@functools.cache
def _finished(num_trials: int) -> tuple[Band, optuna.Study]:
    """The band of a staged problem, and a study of so many trials of members drawn from it."""
    problem = staged_problem(FIRST_INSTANCE, TAILS[1], GENTLE)
    band = Band(problem.space, problem.cost, problem.budget)
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(options) for name, options in problem.space.slots.items()
    }
    rng = random.Random(0)
    rows = [band.sample(rng) for _ in range(num_trials)]
    study = optuna.create_study(direction="maximize")
    study.add_trials([
        optuna.create_trial(params=band.rows.parameters(row), distributions=distributions, value=problem.score(row)) for row in rows
    ])
    return band, study


def main(argv: Sequence[str] | None = None) -> None:
    """Run the searches, measure the times, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=RESULTS / "samplers.md", help="Markdown file to write")
    parser.add_argument("--instances", type=int, default=20, help="mini-spaces under each budget; 0 for none (%(default)s)")
    parser.add_argument("--cell-instances", type=int, default=20, help="cells under each budget, each searched once (%(default)s)")
    parser.add_argument("--staged-instances", type=int, default=20, help="staged spaces of each tail, each searched once (%(default)s)")
    parser.add_argument("--sizes-instances", type=int, default=20, help="spaces of sizes, each searched once (%(default)s)")
    parser.add_argument("--slow-instances", type=int, default=0, help="the same for Optuna's GP, a second a proposal (%(default)s)")
    parser.add_argument("--first-instance", type=int, default=FIRST_INSTANCE, help="(%(default)s)")
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS), help=f"beside {AGING!r} (all)")
    parser.add_argument("--max-trials", type=int, default=MAX_TRIALS, help="of a search (%(default)s)")
    parser.add_argument("--finished", type=int, nargs="+", default=[1_000, 10_000], metavar="N",
                        help="trials of the studies that proposals are timed in (1000 10000)")  # fmt: skip
    parser.add_argument("--processes", type=int, default=2, help="(%(default)s)")
    arguments = parser.parse_args(argv)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

    start = time.monotonic()
    asked = [sampler for sampler in SAMPLERS if sampler in {AGING, *arguments.samplers}]
    kinds = [("mini-space", column, arguments.instances) for column in LISTED["mini-space"]]
    kinds += [("cell", column, arguments.cell_instances) for column in LISTED["cell"]]
    kinds += [(kind, str(tail), arguments.staged_instances) for kind in STAGED for tail in TAILS]
    kinds += [(SIZES, "", arguments.sizes_instances)]
    jobs: list[Job] = [
        (sampler, kind, column, arguments.first_instance + instance, arguments.max_trials)
        for instance in range(max(count for _, _, count in kinds))
        for kind, column, count in kinds
        if instance < count
        for sampler in asked if sampler not in SLOW or instance < arguments.slow_instances
    ]
    kept = arguments.output.with_suffix(".partial.jsonl")
    outcomes = run_searches(jobs, kept, arguments.processes)
    minutes = (time.monotonic() - start) / 60
    quieten()
    samplers = [sampler for sampler in asked if sampler not in SLOW or arguments.slow_instances]
    pairs = list(itertools.product([sampler for sampler in samplers if sampler in KNOW_THE_BAND], arguments.finished))
    times = {pair: milliseconds(*pair) for pair in track(pairs, "times")}
    command = f"python -m experiments.benchmarks.samplers {' '.join(sys.argv[1:] if argv is None else argv)}".strip()
    write_atomically(arguments.output, report(outcomes, times, samplers, command, minutes, arguments.finished))
    kept.unlink()
    print(arguments.output.read_text())


def run_searches(jobs: Sequence[Job], kept: Path, num_processes: int) -> list[Outcome]:
    """The outcomes of all jobs; those that an earlier run kept are not run again."""
    known: dict[Job, Outcome] = {}
    for line in kept.read_text().splitlines() if kept.exists() else ():
        job, figures, wasted = json.loads(line)
        known[tuple(job)] = tuple(job), figures, tuple(wasted)
    open_jobs = [job for job in jobs if job not in known]
    # Jobs of one problem in one process, so that it is made once.
    chunks = [list(group) for _, group in itertools.groupby(open_jobs, key=lambda job: job[1:4])]
    kept.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(num_processes, multiprocessing.get_context("spawn"), quieten) as pool, kept.open("a") as file:
        running = [pool.submit(run_all, chunk) for chunk in chunks]
        for future in track(as_completed(running), "searches", total=len(running)):
            for outcome in future.result():
                known[outcome[0]] = outcome
                file.write(json.dumps(outcome) + "\n")
            file.flush()
    return [known[job] for job in jobs]


def quieten() -> None:
    """Without Optuna's lines about every trial and every experimental argument."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore")


def run_all(jobs: Sequence[Job]) -> list[Outcome]:
    """The outcomes of some jobs."""
    return [to_the_top(job) if job[1] in LISTED else gap(job) for job in jobs]


def report(
    outcomes: Iterable[Outcome], times: Mapping[tuple[str, int], list[float]], samplers: Sequence[str], command: str, minutes: float,
    finished: Sequence[int],
) -> str:
    """The tables, as Markdown."""
    found: dict[tuple[str, str, str], list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault(outcome[0][:3], []).append(outcome)

    def values(sampler: str, kind: str, column: str, lenient: bool, place: int = 0) -> list[float]:
        return [outcome[1][lenient][place] for outcome in found[sampler, kind, column]]

    def table(kind: str, columns: Sequence[str], cell: Callable[[str, str, bool], str]) -> list[str]:
        lines = [f"| sampler | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
        for sampler in samplers:
            knows = sampler in KNOW_THE_BAND
            for lenient in (True,) if knows else (True, False):
                name = sampler if knows else f"{sampler}, {'lenient' if lenient else 'strict'}"
                lines.append(f"| {name} | {' | '.join(cell(sampler, column, lenient) for column in columns)} |")
        return [*lines, ""]

    def gap_cell(kind: str, sampler: str, column: str, lenient: bool) -> str:
        own = values(sampler, kind, column, lenient)
        others = values(AGING, kind, column, True)[: len(own)]
        return f"{interval(own, 2)} [{statistics.mean(own) / statistics.mean(others):.2f}]"

    lines = [
        "# Samplers inside a budget",
        "",
        f"Command: `{command}`; {minutes:.0f} minutes, then the times.",
        f"Machine: {processor()}, {len(cores())} cores. Python {platform.python_version()}, "
        + ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy", "optuna")) + ".",
        "",
        "Medians over instances with 90 % bootstrap intervals; strict charges every trial, lenient only new ones inside the band. "
        f"A search that never found what was sought counts as {MAX_EVALUATIONS} evaluations. No setting was chosen on these instances.",
        "",
    ]
    made = {kind for _, kind, _ in found}
    for kind, about in ABOUT.items():
        if kind not in made:
            continue
        for place, top in enumerate(TOPS):
            lines += [f"## {about}: evaluations to the top {top:.1%}", ""]

            def listed_cell(sampler: str, column: str, lenient: bool, kind: str = kind, place: int = place) -> str:
                if column == MEAN:
                    medians = [statistics.median(values(sampler, kind, column, lenient, place)) for column in LISTED[kind]]
                    return f"{statistics.geometric_mean(medians):.1f}"
                return interval(values(sampler, kind, column, lenient, place))

            lines += table(kind, [*LISTED[kind], MEAN], listed_cell)
    for kind, interactions in STAGED.items():
        if kind not in made:
            continue
        about = f"{interactions.a_slot} pairs and triples a slot, spreads {' / '.join(map(str, interactions.spreads))}"
        lines += [f"## Staged space of 40 slots, {about}: gap to the best known member after {STAGED_EVALUATIONS} evaluations, points", ""]
        lines += ["Columns: share of random members that lie in the band. In brackets the mean, as a share of aging evolution's.", ""]
        lines += table(kind, [str(tail) for tail in TAILS], lambda *at, kind=kind: gap_cell(kind, *at))
    if SIZES in made:
        about = f"gap to the best known member after {STAGED_EVALUATIONS} evaluations, points"
        lines += [f"## Space of 12 sizes, of which the number of parameters explains most: {about}", ""]
        lines += table(SIZES, [""], lambda *at: gap_cell(SIZES, *at))
    lines += ["## Wasted trials and time", ""]
    lines += ["Mean shares of trials over all searches. Processor time of a proposal in the staged space, storing left out.", ""]
    heads = ["sampler", "outside", "repeated", *(f"ms at {count:,} trials: median (greatest)" for count in finished)]
    lines += [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for sampler in samplers:
        wasted = np.mean([outcome[2] for key, many in found.items() if key[0] == sampler for outcome in many], axis=0)
        own = [times.get((sampler, count), []) for count in finished]
        shown = " | ".join(f"{statistics.median(some):.1f} ({max(some):.1f})" if some else "-" for some in own)
        lines.append(f"| {sampler} | {wasted[0]:.1%} | {wasted[1]:.1%} | {shown} |")
    return "\n".join(lines) + "\n"


MEAN = "geometric mean"
ABOUT = {"mini-space": "Mini-space, 63,504 members", "cell": "Cell of six edges, 15,625 members"}


def interval(values: Sequence[float], digits: int = 0) -> str:
    """The median, and an interval that 90 % of resampled medians lie in."""
    medians = np.median(np.random.default_rng(0).choice(values, (2000, len(values))), axis=1)
    low, high = np.quantile(medians, (0.05, 0.95))
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()
