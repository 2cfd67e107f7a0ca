"""What share of the Pareto front samplers find with two objectives, accuracy and a cost: ours, and Optuna's.

    python -m experiments.benchmarks.sampler_objectives

Searches of `sampler_problems.py` and `cell_problems.py` whose members are all known, without a lower limit on cost. The figure is the
hypervolume of what was evaluated, as a share of that of the true front; its reference point is the worst accuracy on the front, and the
limit. Optuna's samplers know no budget. "Strict" charges each of their trials, "lenient" those alone that are new and inside.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import optuna
from numpy.typing import NDArray
from rich.progress import track

from experiments.benchmarks.cell_problems import cell_problem
from experiments.benchmarks.sampler_problems import Problem, all_rows, mini_problem
from experiments.benchmarks.samplers import AGING, FIRST_INSTANCE, KNOW_THE_BAND, SAMPLERS, SLOW, interval, quieten
from proxies.band.enumerated import ListedBand
from proxies.cost import Budget

EVALUATIONS = 200
MAX_TRIALS = 400
DIRECTIONS = (optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE)
PROBLEMS: Mapping[str, Callable[[int], Problem]] = {
    "mini-space: accuracy, FLOPs": lambda instance: mini_problem(instance, ("macs",)),
    "cell: accuracy, latency": lambda instance: cell_problem(instance, ("macs", "latency"), "large"),
}
"""The last limited quantity is the second objective."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the searches, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=20, help="of each problem, each searched once (%(default)s)")
    parser.add_argument("--slow-instances", type=int, default=2, help="the same for Optuna's GP, a second a proposal (%(default)s)")
    parser.add_argument("--first-instance", type=int, default=FIRST_INSTANCE, help="(%(default)s)")
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=[name for name in SAMPLERS if name != AGING])
    parser.add_argument("--max-trials", type=int, default=MAX_TRIALS, help="of a search (%(default)s)")
    arguments = parser.parse_args(argv)
    quieten()
    shares: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for name, make in PROBLEMS.items():
        for instance in track(range(arguments.instances), name):
            problem, band, reference, whole = listed(make, arguments.first_instance + instance)
            for sampler in arguments.samplers:
                if sampler in SLOW and instance >= arguments.slow_instances:
                    continue
                found = searched(sampler, problem, band, problem.instance, min(SLOW.get(sampler, MAX_TRIALS), arguments.max_trials))
                strict, lenient = (hypervolume(some, reference) / whole for some in (found[0], found[1]))
                shares.setdefault((sampler, name), []).append((strict, lenient))
    print(table(arguments.samplers, shares))


def table(samplers: Sequence[str], shares: Mapping[tuple[str, str], Sequence[tuple[float, float]]]) -> str:
    """Medians over instances with 90 % bootstrap intervals, as Markdown."""
    lines = [f"| sampler | searches | {' | '.join(PROBLEMS)} |", "|---" * (2 + len(PROBLEMS)) + "|"]
    for sampler in samplers:
        for place, way in enumerate(("strict", "lenient")):
            if sampler in KNOW_THE_BAND and way == "strict":
                continue
            found = [[pair[place] for pair in shares.get((sampler, name), ())] for name in PROBLEMS]
            cells = [interval(some, 3) if some else "-" for some in found]
            title = sampler if sampler in KNOW_THE_BAND else f"{sampler}, {way}"
            lines.append(f"| {title} | {len(found[0])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def listed(make: Callable[[int], Problem], instance: int) -> tuple[Problem, ListedBand, NDArray[np.float64], float]:
    """A problem without a floor, its band, the reference point, and the hypervolume of its true front."""
    problem = make(instance)
    problem = replace(problem, budget=Budget(dict(problem.budget.limits), 0.0))
    band = ListedBand(problem.space, problem.cost, problem.budget)
    members = all_rows(problem.rows)
    values = values_of(problem, band, members[band.admits(members)])
    limit = float(list(problem.budget.limits.values())[-1])
    reference = np.array([front_of(values)[:, 0].min(), limit])
    return problem, band, reference, hypervolume(values, reference)


def values_of(problem: Problem, band: ListedBand, members: NDArray[np.int64]) -> NDArray[np.float64]:
    """Accuracy and cost (n, 2) of members (n, slots)."""
    return np.stack((problem.truth(members), band.costs(members)[:, -1].astype(float)), axis=1)


def front_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points (m, 2) that no other has both a higher accuracy and a lower cost than, by falling accuracy."""
    ordered = values[np.lexsort((values[:, 1], -values[:, 0]))]
    before = np.minimum.accumulate(np.concatenate(([np.inf], ordered[:-1, 1])))
    return ordered[ordered[:, 1] < before]


def hypervolume(values: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """What accuracies and costs (n, 2) dominate of the plane, up to a reference point; 0 for none."""
    front = front_of(values[(values[:, 0] > reference[0]) & (values[:, 1] < reference[1])])
    if not len(front):
        return 0.0
    before = np.concatenate(([reference[1]], front[:-1, 1]))
    return float(((front[:, 0] - reference[0]) * (before - front[:, 1])).sum())


def searched(
    sampler: str, problem: Problem, band: ListedBand, seed: int, max_trials: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values (n, 2) of the members among the first `EVALUATIONS` trials, and of the first so many new members.

    A trial outside the band gets the worst accuracy observed so far, its true cost, and its constraint's value.
    """
    study = optuna.create_study(sampler=SAMPLERS[sampler](band, seed), directions=DIRECTIONS)
    known: dict[bytes, NDArray[np.float64]] = {}
    strict: list[NDArray[np.float64]] = []
    for number in range(max_trials):
        trial = study.ask()
        row = problem.rows.row({name: trial.suggest_categorical(name, options) for name, options in problem.space.slots.items()})
        costs = band.costs(row[None])[0]
        if band.admits(row[None])[0]:
            values = known.setdefault(row.tobytes(), values_of(problem, band, row[None])[0])
            strict += [values] if number < EVALUATIONS else []
        else:
            values = np.array([min((one[0] for one in known.values()), default=0.0), costs[-1]])
        if sampler not in KNOW_THE_BAND:
            trial.set_constraint("budget", problem.budget.excess(dict(zip(problem.budget.limits, costs.tolist(), strict=True))))
        study.tell(trial, values.tolist())
        if len(known) == EVALUATIONS:
            break
    return np.array(strict).reshape(-1, 2), np.array([*known.values()]).reshape(-1, 2)


if __name__ == "__main__":
    main()
