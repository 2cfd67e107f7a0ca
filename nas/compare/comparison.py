"""Networks that are retrained alike: a search's winner, random members of its band, published networks.

A retraining is one job. It has a folder of its own, named by architecture and seed, for its checkpoint and its result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from nas.compare.bootstrap import Estimate
from nas.execution.jobs import JobFunction, Workers
from nas.execution.loop import JobList, run_jobs
from nas.execution.resources import threads
from nas.retrain.origin import Origin
from nas.retrain.recipe import Recipe
from nas.retrain.retraining import Retraining
from nas.runs.records.comparison import training_folder
from nas.runs.records.metadata import MeasuredFigure
from nas.runs.records.role import Role
from proxies.cost import Cost
from proxies.macs import cost_of
from space.architecture import Architecture
from supernet.data.images import ImageSet
from supernet.intervals import Interval, over_seeds, paired_difference
from supernet.tasks.task import Task, task_of_images


@dataclass(frozen=True)
class Contender:
    """A network that takes part.

    Args:
        label: what the table calls it.
        origin: of the weights that it begins with; none for random ones.
    """

    label: str
    architecture: Architecture
    role: Role = Role.OTHER
    origin: Origin | None = None

    @property
    def cost(self) -> Cost:
        """Multiply-adds and parameters."""
        return cost_of(self.architecture)


@dataclass(frozen=True)
class RetrainingJob:
    """One contender's retraining with one seed."""

    contender: Contender
    seed: int

    def __str__(self) -> str:
        return f"retraining {self.name}"

    @property
    def name(self) -> str:
        """Whose it is, and which one."""
        return f"{self.contender.label}, seed {self.seed}"


def jobs_of(contenders: Sequence[Contender], seeds: int) -> list[RetrainingJob]:
    """Every contender with every seed: seed by seed, so that an interrupted comparison has all of the first."""
    return [RetrainingJob(contender, seed) for seed in range(seeds) for contender in contenders]


@dataclass(frozen=True)
class EqualConditions:
    """What all retrainings share.

    Args:
        images, test_images: to train and validate on, and to test on.
        folder: of the retrainings' folders.
        may_compile: whether long retrainings are compiled.
    """

    images: ImageSet
    test_images: ImageSet
    recipe: Recipe
    image_size: int
    folder: Path
    may_compile: bool = True

    @property
    def task(self) -> Task:
        """What all are trained and judged for."""
        return task_of_images(self.images)

    @property
    def in_words(self) -> str:
        """How many images there are."""
        source = Path(self.images.source).name
        return f"{len(self.images)} images of {source} to train and validate on, {len(self.test_images)} to test on"

    def retraining(self, contender: Contender, seed: int) -> Retraining:
        """One retraining, not begun."""
        architecture = contender.architecture
        return Retraining(
            architecture, self.recipe, self.images, self.test_images, self.image_size, seed, origin=contender.origin,
            out=training_folder(self.folder, architecture.fingerprint, seed),
            # Loading in other processes would take the cores of other trainings.
            num_workers=0,
            may_compile=self.may_compile,
            provenance={"role": contender.role.value},
        )  # fmt: skip

    def retrainings(self, contenders: Sequence[Contender], seeds: int) -> list[tuple[Contender, Retraining]]:
        """Every contender with every seed, as in `jobs_of`."""
        return [(job.contender, self.retraining(job.contender, job.seed)) for job in jobs_of(contenders, seeds)]

    def retrain(self, job: RetrainingJob) -> MeasuredFigure:
        """Do one retraining in this process, in one thread, or continue it; what it reaches on the test images."""
        retraining = self.retraining(job.contender, job.seed)
        retraining.out.mkdir(parents=True, exist_ok=True)
        with threads(1):
            test = retraining.run().test
        assert test is not None
        return test


def retrainer(conditions: EqualConditions) -> JobFunction:
    """What workers retrain with: `open_workers(partial(retrainer, conditions), ...)`."""
    return conditions.retrain


@dataclass(frozen=True)
class ContenderResult:
    """What a contender reaches on the test images.

    Args:
        by_seed: the task's headline figure.
        num_images: in the test part; None where it is unknown.
        stderr: of the first figure, over images; None where it is unknown.
    """

    contender: Contender
    by_seed: tuple[float, ...]
    num_images: int | None = None
    stderr: float | None = None

    @property
    def mean(self) -> float:
        """Over seeds."""
        return mean(self.by_seed)

    @property
    def interval(self) -> Interval | None:
        """The mean with its 95 % interval: over seeds (Student's), or of one seed over images (Wilson's); none where these are unknown."""
        return over_seeds(self.by_seed, self.num_images, self.stderr)

    def lead_of(self, other: ContenderResult) -> Estimate:
        """By how much the other's mean is greater, with its interval over seeds, paired; none of one seed."""
        lead = other.mean - self.mean
        return Estimate(lead, paired_difference(self.by_seed, other.by_seed) if len(self.by_seed) > 1 else None)


def retrain_all(
    contenders: Sequence[Contender], seeds: int, workers: Workers, on_result: Callable[[RetrainingJob, MeasuredFigure], None]
) -> list[ContenderResult]:
    """Retrain all contenders with so many seeds, from 0 on; best first.

    Args:
        contenders: distinct architectures.
        workers: that do it with `retrainer`.
    """
    found: dict[tuple[str, int], MeasuredFigure] = {}

    def note(job: RetrainingJob, test: MeasuredFigure) -> None:
        found[job.contender.architecture.fingerprint, job.seed] = test
        on_result(job, test)

    jobs = JobList(jobs_of(contenders, seeds), str, note)
    run_jobs(jobs, workers)
    jobs.check()
    rows = []
    for one in contenders:
        tests = [found[one.architecture.fingerprint, seed] for seed in range(seeds)]
        rows.append(ContenderResult(one, tuple(test.value for test in tests), tests[0].images, tests[0].stderr))
    return sorted(rows, key=lambda row: row.mean, reverse=True)
