"""What the surrogate gains from trials of an earlier search in another budget, and from good architectures that are evaluated first.

    python -m experiments.benchmarks.sampler_sources

Pairs of searches with the same made-up accuracies: one in a first budget, then one in a second budget that learns from its trials, or
does not. Staleness is 4, as in `nas.search`. "Good architectures" are three, each the best of 100 random members: what published networks
may be.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import optuna
from numpy.typing import NDArray
from rich.progress import track

from experiments.benchmarks.cell_problems import cell_problem
from experiments.benchmarks.sampler_problems import GENTLE, RUGGED, Problem, all_rows, staged_problem
from experiments.benchmarks.samplers import FIRST_INSTANCE, best_known, interval, quieten
from nas.samplers.observed_trials import Members, SourceTrials
from nas.samplers.surrogate import SurrogateSampler
from proxies.band.band import Band
from proxies.band.enumerated import band_of

STALENESS = 4
AFTER = (30, 60, 120, 200)
"""Evaluations after which gaps are shown."""
TOPS = (0.001, 0.01)
STAGED: Mapping[str, Callable[[int, float], Problem]] = {
    "staged": lambda instance, share: staged_problem(instance, share, GENTLE),
    "staged, rugged": lambda instance, share: staged_problem(instance, share, RUGGED),
}
SHARES = ((0.1, 0.01), (0.01, 0.1))
SIZES = (("large", "small"), ("small", "large"))
"""First and second budget of a cell."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the searches, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=12, help="of each problem (%(default)s)")
    parser.add_argument("--first-instance", type=int, default=FIRST_INSTANCE, help="(%(default)s)")
    parser.add_argument("--source-trials", type=int, default=120, help="of the first search (%(default)s)")
    parser.add_argument("--trials", type=int, default=max(AFTER), help="of the second search (%(default)s)")
    arguments = parser.parse_args(argv)
    quieten()
    instances = range(arguments.first_instance, arguments.first_instance + arguments.instances)
    lines = [f"| space, share of random members inside | knows | {' | '.join(map(str, AFTER))} |", "|---" * (2 + len(AFTER)) + "|"]
    for name, make in STAGED.items():
        for shares in SHARES:
            found = [gaps(make, instance, shares, arguments.source_trials, arguments.trials) for instance in track(instances, name)]
            for way in found[0]:
                means = [f"{statistics.mean(one[way][place] for one in found):.2f}" for place in range(len(AFTER))]
                lines.append(f"| {name}, {shares[0]} then {shares[1]} | {way} | {' | '.join(means)} |")
    lines += ["", f"| cell | knows | {' | '.join(f'top {top:.1%}' for top in TOPS)} |", "|---" * (2 + len(TOPS)) + "|"]
    for sizes in SIZES:
        needed = [evaluations(instance, sizes, arguments.source_trials, arguments.trials) for instance in track(instances, "cell")]
        for way in needed[0]:
            shown = [interval([one[way][place] for one in needed]) for place in range(len(TOPS))]
            lines.append(f"| {sizes[0]} then {sizes[1]} | {way} | {' | '.join(shown)} |")
    print("\n".join(lines))


def gaps(
    make: Callable[[int, float], Problem], instance: int, shares: tuple[float, float], source_trials: int, trials: int
) -> dict[str, list[float]]:
    """Points that the member of greatest score lacks to the best known one, after each of `AFTER`, by what the search knows."""
    first, second = (make(instance, share) for share in shares)
    bands = [Band(problem.space, problem.cost, problem.budget) for problem in (first, second)]
    source = SourceTrials(*searched(first, bands[0], source_trials, 1000 + instance))
    best, good = best_known(second, bands[1]), good_members(second, bands[1])
    found = {}
    for way, known, enqueued in (("nothing", None, ()), ("good architectures", None, good), ("earlier trials", source, ())):
        members, values = searched(second, bands[1], trials, instance, known, enqueued)
        found[way] = [best - float(second.truth(members[[values[:count, 0].argmax()]])[0]) for count in AFTER]
    return found


def evaluations(instance: int, sizes: tuple[str, str], source_trials: int, trials: int) -> dict[str, list[float]]:
    """Evaluations to each top of a cell, by what the search knows; `trials` where it has not found it."""
    first, second = (cell_problem(instance, ("macs",), size) for size in sizes)
    bands = [band_of(problem.space, problem.cost, problem.budget) for problem in (first, second)]
    source = SourceTrials(*searched(first, bands[0], source_trials, 1000 + instance))
    members = all_rows(second.rows)
    ordered = np.sort(second.truth(members[bands[1].admits(members)]))[::-1]
    least = [ordered[int(top * len(ordered))] for top in TOPS]
    found = {}
    for way, known in (("nothing", None), ("earlier trials", source)):
        truth = second.truth(searched(second, bands[1], trials, instance, known)[0])
        found[way] = [float(next((count for count, one in enumerate(truth, 1) if one >= bound), trials)) for bound in least]
    return found


def good_members(problem: Problem, band: Band) -> list[Members]:
    """Three members, each the best of 100 random ones."""
    rng = random.Random(f"good/{problem.instance}")
    drawn = [np.array([band.sample(rng) for _ in range(100)]) for _ in range(3)]
    return [some[problem.truth(some).argmax()] for some in drawn]


def searched(
    problem: Problem, band: Band, trials: int, seed: int, source: SourceTrials | None = None, enqueued: Sequence[Members] = ()
) -> tuple[Members, NDArray[np.float64]]:
    """The members (n, slots) that a search evaluates, and their scores (n, 1)."""
    sampler, study = SurrogateSampler(band, seed, staleness=STALENESS, source=source), optuna.create_study(direction="maximize")
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(options) for name, options in problem.space.slots.items()
    }
    members: list[Members] = []
    scores: list[list[float]] = []
    for index in range(trials):
        known = study.get_trials(deepcopy=False)
        members.append(enqueued[index] if index < len(enqueued) else sampler.choose(study, known, index).member)
        scores.append([problem.score(members[-1])])
        params = band.rows.parameters(members[-1])
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=scores[-1][0]))
    return np.array(members), np.array(scores)


if __name__ == "__main__":
    main()
