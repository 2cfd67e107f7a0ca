"""What a trial costs beside its evaluation, what a second worker brings, and how many workers one driver can keep busy.

    python -m experiments.benchmarks.backends

Evaluations are made up: none at all, or a loop that computes for a second. Space, sampler, study, storages and backends are the
real ones; the PostgreSQL is started as the tests start theirs. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import heapq
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments.benchmarks.parents import RESULTS, machine
from nas.cli.backend_options import BACKENDS
from nas.execution.loop import run_jobs
from nas.execution.resources import Resources
from nas.execution.workers import open_workers
from nas.search.proposals import Proposals
from nas.study.architecture_study import ArchitectureStudy
from nas.study.objectives import objectives_of
from nas.study.record import Proposal, Result
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from space.architecture import Architecture
from space.files import load_space, write_atomically
from supernet.score import Score
from tests.postgresql import installed_programs, running_postgresql

SPACE, BUDGET, FLOOR, SAMPLER = "hybrid-224", "4.5GFLOPs", 0.9, "surrogate"
STORAGES = ("journal", "sqlite", "postgresql")
PARALLEL = 4
GOAL_MS = {"sqlite": 60, "journal": 20, "postgresql": 60}
"""Of a trial without Ray."""
GOAL_SPEED = 1.8
LEAST_EVALUATIONS = 10
"""Of which the first and the last four are left out."""
SECONDS = (1, 10)
"""Of the evaluations that a driver is simulated with."""

NewStudy = Callable[[str, int], ArchitectureStudy]


@dataclass(frozen=True)
class MadeUp:
    """Scores an architecture by its fingerprint.

    Args:
        seconds: of processor time that it takes.
    """

    seconds: float = 0.0

    def __call__(self, architecture: Architecture) -> Score:
        start = time.process_time()
        while time.process_time() - start < self.seconds:
            pass
        share = share_of(architecture)
        return Score(share, 0.0, -share, 0.0, 1)


def share_of(architecture: Architecture) -> float:
    """An architecture's own number between 0 and 1."""
    return int(architecture.fingerprint[:8], 16) / 2**32


def main(argv: Sequence[str] | None = None) -> None:
    """Measure everything; the page is written anew after each row, so that stopping loses nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help="of a search whose overhead is measured (%(default)s)")
    parser.add_argument("--evaluations", type=int, default=40, help="by one worker and by two, ten or more (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of processor time that each of these takes (%(default)s)")
    parser.add_argument("--simulated", type=int, default=256, help="workers that a driver is simulated with (%(default)s)")
    parser.add_argument("--storages", nargs="+", choices=STORAGES, default=STORAGES)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--output", type=Path, default=RESULTS / "backends.md")
    args = parser.parse_args(argv)
    if args.evaluations < LEAST_EVALUATIONS:
        parser.error(f"--evaluations: got {args.evaluations}, expected {LEAST_EVALUATIONS} or more")
    args.device, args.threads = "cpu", 1
    lines: list[str] = []

    def write(*more: str) -> None:
        lines.extend(more)
        print(*more, sep="\n", flush=True)
        write_atomically(args.output, "\n".join(lines) + "\n")

    write(*heading(args))
    with new_studies(args.storages) as new_study:
        write(*heading_of_overhead(args))
        for backend in args.backends:
            for storage in args.storages:
                write(overhead(backend, storage, new_study(storage, PARALLEL), args.trials))
        write(*heading_of_speed(args))
        for backend in args.backends:
            write(speed(backend, [new_study(args.storages[0], PARALLEL) for _ in range(2)], args.evaluations, args.seconds))
        write(*heading_of_driver(args))
        for storage in args.storages:
            for seconds in SECONDS:
                write(driver(storage, new_study(storage, args.simulated), args.simulated, seconds, args.trials))


def heading(args: argparse.Namespace) -> list[str]:
    """What the page is of."""
    command = f"--trials {args.trials} --evaluations {args.evaluations} --simulated {args.simulated}"
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("optuna", "ray", "sqlalchemy"))
    return [
        "# Backends and storages",
        "",
        f"`python -m experiments.benchmarks.backends {command}`:",
        f"{machine(args)}, {versions}. {SPACE} at {BUDGET}, sampler {SAMPLER}.",
    ]


def heading_of_overhead(args: argparse.Namespace) -> list[str]:
    """Above the rows of `overhead`."""
    return [
        "",
        f"## What a trial costs: {args.trials} evaluations that take no time, one after the other",
        "",
        "Proposal, storage, bookkeeping and the drawings for the dashboard; start and end of the search left out. Processor time is",
        "the driver's: it bounds what a driver of many workers can do.",
        "",
        "| backend | storage | ms a trial | first quarter | last quarter | processor, ms | wanted |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]


def overhead(backend: str, storage: str, study: ArchitectureStudy, num_trials: int) -> str:
    """A row: one worker, evaluations of no length."""
    clock = Clock()
    run(backend, study, 0.0, num_trials, 1, clock)
    quarter = num_trials // 4
    whole, first, last = clock.seconds(0, -1), clock.seconds(0, quarter), clock.seconds(-1 - quarter, -1)
    cells = [backend, storage, *(f"{1000 * value:.1f}" for value in (whole, first, last, clock.processor_seconds()))]
    goal = str(GOAL_MS[storage]) if backend == "local" else ""
    return f"| {' | '.join([*cells, goal])} |"


def heading_of_speed(args: argparse.Namespace) -> list[str]:
    """Above the rows of `speed`."""
    return [
        "",
        f"## Two workers beside one: {args.evaluations} evaluations that compute for {args.seconds:g} s",
        "",
        f"On {args.storages[0]}; the search's start and end left out, four evaluations each.",
        "",
        "| backend | one worker, s an evaluation | two workers | times as fast | wanted |",
        "|---|--:|--:|--:|--:|",
    ]


def speed(backend: str, studies: Sequence[ArchitectureStudy], num_evaluations: int, seconds: float) -> str:
    """A row: the same search by one worker and by two."""
    taken = []
    for num_workers, study in enumerate(studies, 1):
        clock = Clock()
        run(backend, study, seconds, num_evaluations, num_workers, clock)
        taken.append(clock.seconds(4, -5))
    one, two = taken
    return f"| {backend} | {one:.3f} | {two:.3f} | {one / two:.2f} | {GOAL_SPEED} |"


def heading_of_driver(args: argparse.Namespace) -> list[str]:
    """Above the rows of `driver`."""
    return [
        "",
        f"## One driver and {args.simulated} workers: {args.trials} trials",
        "",
        f"A simulation with `--parallel {args.simulated}`: proposing and telling are done and timed, evaluations only pass on a clock that",
        "nobody waits for, and take from half as long to one and a half times as long as said. From that number of workers on at which",
        "evaluations end as fast as it can tell and propose, the driver is the limit. What Tune adds to that is in the first table.",
        "",
        "| storage | s an evaluation | ms to propose | ms to tell | proposals a second | driver is the limit from | workers are busy |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]


def driver(storage: str, study: ArchitectureStudy, num_workers: int, seconds: float, num_trials: int) -> str:
    """A row: what a driver does when its workers take no processor time."""
    now = busy = 0.0
    spent = {"ask": 0.0, "tell": 0.0}
    ends: list[tuple[float, int]] = []
    running: dict[int, Proposal] = {}
    evaluator = MadeUp()

    def timed(what: str, call: Callable[[], Any]) -> Any:
        nonlocal now
        start = time.perf_counter()
        answer = call()
        took = time.perf_counter() - start
        spent[what] += took
        now += took
        return answer

    with study.session():
        while study.num_results < num_trials:
            while ends and ends[0][0] <= now:
                proposal = running.pop(heapq.heappop(ends)[1])
                score = evaluator(proposal.architecture)
                timed("tell", partial(study.tell, proposal, score, seconds))
            proposal = timed("ask", partial(study.ask, num_trials)) if len(running) < num_workers else None
            if proposal is not None:
                length = seconds * (0.5 + share_of(proposal.architecture))
                running[proposal.number] = proposal
                heapq.heappush(ends, (now + length, proposal.number))
                busy += length
            elif ends:
                now = max(now, ends[0][0])
    a_trial = (spent["ask"] + spent["tell"]) / num_trials
    cells = [storage, f"{seconds:g}", *(f"{1000 * spent[what] / num_trials:.1f}" for what in ("ask", "tell"))]
    cells += [f"{1 / a_trial:.0f}", f"{seconds / a_trial:.0f}", f"{busy / now / num_workers:.0%}"]
    return f"| {' | '.join(cells)} |"


class Clock:
    """When results came, and how much processor time this process had had by then."""

    def __init__(self) -> None:
        self._times: list[tuple[float, float]] = []

    def __call__(self, result: Result) -> None:
        self._times.append((time.perf_counter(), time.process_time()))

    def seconds(self, first: int, last: int) -> float:
        """From one result to another, for each between them."""
        count = range(len(self._times))[last] - range(len(self._times))[first]
        return (self._times[last][0] - self._times[first][0]) / count

    def processor_seconds(self) -> float:
        """A result."""
        return (self._times[-1][1] - self._times[0][1]) / (len(self._times) - 1)


def run(backend: str, study: ArchitectureStudy, seconds: float, num_results: int, num_workers: int, clock: Clock) -> None:
    """A search by made-up evaluations of so many seconds."""
    resources = Resources(num_workers, backend, gpus=0 if backend == "ray" else None)
    with (
        study.session(), tempfile.TemporaryDirectory() as folder,
        open_workers(partial(MadeUp, seconds), resources, Path(folder)) as workers,
    ):
        run_jobs(Proposals(study, num_results, clock), workers)


@contextmanager
def new_studies(storages: Sequence[str]) -> Iterator[NewStudy]:
    """Makes an empty study in a storage of its own with each call, for the storage's name and the staleness of its sampler."""
    space, budget = load_space(SPACE), parse_budget(BUDGET, FLOOR)
    band, objectives = ArchitectureBand(space, budget), objectives_of(["accuracy"], budget)
    with ExitStack() as stack:
        folder, count = stack.enter_context(tempfile.TemporaryDirectory()), iter(range(10**6))
        urls: dict[str, Callable[[], str]] = {
            "sqlite": lambda: f"sqlite:///{folder}/{next(count)}.db",
            "journal": lambda: f"journal:{folder}/{next(count)}.log",
        }
        if "postgresql" in storages:
            programs = installed_programs()
            if programs is None:
                raise SystemExit("postgresql: got no server programs, expected them: apt-get install postgresql, or --storages without it")
            urls["postgresql"] = stack.enter_context(running_postgresql(programs))

        def new_study(storage: str, staleness: int) -> ArchitectureStudy:
            url, artifacts = urls[storage](), Path(folder, str(next(count)))
            return ArchitectureStudy(url, "made-up", band, budget, objectives, SAMPLER, 0, staleness, artifacts=artifacts)

        yield new_study


if __name__ == "__main__":
    main()
