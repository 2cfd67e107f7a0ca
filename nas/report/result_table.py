"""The result table: the winner and the next best, what was drawn at random, and the published networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, takewhile
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from nas.report.wording import name_of_others, role_of_rank
from nas.runs.directory import RunError
from nas.runs.records.comparison import ComparisonRecord
from nas.runs.records.role import Role
from nas.runs.records.search import SearchRecord
from nas.study.record import Result, StudyRecord
from proxies.cost import Budget, Cost
from proxies.macs import cost_of
from proxies.memory.prediction import memory_of
from proxies.published import parents_within
from space.architecture import Architecture
from space.errors import SpaceError
from space.files import load_architecture, load_provenance
from supernet.intervals import Interval, of_score


@dataclass(frozen=True)
class ResultRow:
    """What an architecture costs and reaches, as far as that is known.

    Args:
        role: of the architecture; `random` for a median of those drawn at random.
        latencies: milliseconds by target; predicted ones in brackets.
        memory: MiB by quantity.
        result: of the search.
        test: where it was retrained.
        published: top-1 accuracy on ImageNet, or mean intersection over union on ADE20K, in percent, as its authors report it.
    """

    label: str
    cost: Cost
    role: Role
    architecture: Architecture | None = None
    latencies: Mapping[str, str] = field(default_factory=dict)
    memory: Mapping[str, str] = field(default_factory=dict)
    result: Result | None = None
    test: Interval | None = None
    published: float | None = None

    @property
    def ranking(self) -> Interval | None:
        """Its headline figure on the search images; None where it has no score, or that of a caller's evaluator, which counts no images."""
        return None if self.result is None or not self.result.score.num_images else of_score(self.result.score)


def result_rows(
    run: Path, search: SearchRecord, study: StudyRecord, results: Sequence[Result], drawn: Sequence[Result],
    comparison: ComparisonRecord | None,
) -> list[ResultRow]:  # fmt: skip
    """All rows, the winner first; RunError where an architecture in the directory is none of the study's.

    Args:
        results: of the study.
        drawn: those of them that were drawn at random, best first.
    """
    by_fingerprint = {result.architecture.fingerprint: result for result in results}
    tests = {one.fingerprint: one.test for one in comparison.networks} if comparison else {}
    image_size, budget = search.config.image_size, search.budget

    def row(
        label: str, role: Role, architecture: Architecture, result: Result | None, measured: Mapping[str, float],
        published: float | None = None,
    ) -> ResultRow:  # fmt: skip
        test = None
        # Retrainings have the image size of the search; an architecture that cannot have it was not retrained.
        with suppress(SpaceError):
            test = tests.get(architecture.replace(image_size=image_size).fingerprint)
        latencies = _latencies(budget, result, measured)
        memory = {quantity: f"{memory_of(architecture, quantity) / 2**20:#.4g}" for quantity in budget.memory}
        return ResultRow(label, cost_of(architecture), role, architecture, latencies, memory, result, test, published)

    rows = []
    others, has_one = name_of_others(study), len(study.objectives) == 1
    names = ["best", *takewhile(lambda name: (run / f"{name}.yaml").exists(), (f"{others}-{rank}" for rank in count(2)))]
    for rank, name in enumerate(names, start=1):
        file = run / f"{name}.yaml"
        architecture = load_architecture(file)
        if architecture.fingerprint not in by_fingerprint:
            raise RunError(f"{file}: got an architecture that is none of the study's, expected one that the search wrote")
        label = name.replace("-", " ") if name != "best" else "winner" if has_one else "most accurate"
        rows.append(row(label, role_of_rank(study, rank), architecture, by_fingerprint[architecture.fingerprint], _measured(file)))
    if drawn:
        median = drawn[len(drawn) // 2]
        rows.append(row(f"median of {len(drawn)} random draws", Role.RANDOM, median.architecture, median, {}))
    if comparison and (middle := comparison.median_random):
        num_drawn = len(comparison.of_role(Role.RANDOM))
        rows.append(ResultRow(f"median of {num_drawn} random, retrained", Cost(middle.macs, middle.params), Role.RANDOM, test=middle.test))
    for parent in parents_within(study.space, budget):
        known = by_fingerprint.get(parent.architecture.fingerprint)
        rows.append(row(parent.architecture.name, Role.PARENT, parent.architecture, known, {}, parent.published.score))
    return rows


def _latencies(budget: Budget, result: Result | None, measured: Mapping[str, float]) -> dict[str, str]:
    latencies = {}
    for quantity, target in budget.targets.items():
        if str(target) in measured:
            latencies[str(target)] = f"{measured[str(target)]:#.3g}"
        elif result is not None and quantity in result.costs:
            latencies[str(target)] = f"({result.costs[quantity] / 1e6:#.3g})"
    return latencies


def _measured(file: Path) -> dict[str, float]:
    """Milliseconds by target, as the file of an architecture has them."""
    try:
        return TypeAdapter(dict[str, float]).validate_python(load_provenance(file).get("measured_ms", {}))
    except ValidationError:
        raise RunError(f"{file}: provenance.measured_ms: expected milliseconds by device") from None
