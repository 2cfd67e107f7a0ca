"""The result table: the winner and those behind it, what was drawn at random, and the published networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, takewhile
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from nas.report.comparison import Comparison
from nas.report.origin import Origin
from nas.runs.directory import RunError
from nas.study.record import Result
from proxies.cost import Cost
from proxies.published import Parent
from space.architecture import Architecture
from space.errors import SpaceError
from space.files import load_architecture, load_provenance
from supernet.intervals import Accuracy, of_score


@dataclass(frozen=True)
class Latency:
    """Milliseconds, measured or predicted."""

    ms: float
    is_measured: bool


@dataclass(frozen=True)
class Entry:
    """A row: what an architecture costs and reaches, as far as that is known.

    Args:
        latencies: by target.
        result: of the search.
        test: where it was retrained.
        published: top-1 accuracy in percent on ImageNet, as its authors report it.
    """

    label: str
    cost: Cost
    architecture: Architecture | None = None
    latencies: Mapping[str, Latency] = field(default_factory=dict)
    result: Result | None = None
    test: Accuracy | None = None
    published: float | None = None

    @property
    def ranking(self) -> Accuracy | None:
        """What it scored in the search."""
        # A caller's evaluator that gives a number alone has looked at no images that we know of.
        return None if self.result is None or not self.result.score.num_images else of_score(self.result.score)


def entries_of(
    run: Path, origin: Origin, others: str, results: Sequence[Result], drawn: Sequence[Result], parents: Sequence[Parent],
    comparison: Comparison | None,
) -> list[Entry]:  # fmt: skip
    """All rows, the winner first; RunError where the directory's architectures are none of the study's.

    Args:
        others: what the files behind the best are called, as `nas.report.wording.name_of_others` says.
        drawn: the results that were drawn at random, best first.
        parents: published networks within the budget.
    """
    by_fingerprint = {result.architecture.fingerprint: result for result in results}
    tests = {one.fingerprint: one.test for one in comparison.networks} if comparison else {}

    def test_of(architecture: Architecture) -> Accuracy | None:
        with suppress(SpaceError):
            return tests.get(architecture.replace(image_size=origin.image_size).fingerprint)
        return None

    def row(label: str, architecture: Architecture, result: Result, measured: Mapping[str, float]) -> Entry:
        latencies = _latencies(origin, result, measured)
        return Entry(label, result.cost, architecture, latencies, result, test_of(architecture))

    entries = []
    names = ["best", *takewhile(lambda name: (run / f"{name}.yaml").exists(), (f"{others}-{rank}" for rank in count(2)))]
    for name in names:
        file = run / f"{name}.yaml"
        architecture = load_architecture(file)
        if architecture.fingerprint not in by_fingerprint:
            raise RunError(f"{file}: got an architecture that is none of the study's, expected one that the search wrote")
        best = "winner" if others == "next" else "most accurate"
        label = best if name == "best" else name.replace("-", " ")
        entries.append(row(label, architecture, by_fingerprint[architecture.fingerprint], _measured(file)))
    if drawn:
        median = drawn[len(drawn) // 2]
        entries.append(row(f"median of {len(drawn)} random draws", median.architecture, median, {}))
    if comparison and (middle := comparison.median_random):
        num_drawn = sum(one.is_random for one in comparison.networks)
        entries.append(Entry(f"median of {num_drawn} random, retrained", Cost(middle.macs, middle.params), test=middle.test))
    for parent in parents:
        architecture, known = parent.architecture, by_fingerprint.get(parent.architecture.fingerprint)
        latencies = _latencies(origin, known, {}) if known else {}
        entries.append(
            Entry(architecture.name, parent.cost, architecture, latencies, known, test_of(architecture), parent.published.top1)
        )
    return entries


def _latencies(origin: Origin, result: Result, measured: Mapping[str, float]) -> dict[str, Latency]:
    latencies = {}
    for quantity, target in origin.budget.targets.items():
        if str(target) in measured:
            latencies[str(target)] = Latency(measured[str(target)], is_measured=True)
        elif quantity in result.amounts:
            latencies[str(target)] = Latency(result.amounts[quantity] / 1e6, is_measured=False)
    return latencies


def _measured(file: Path) -> dict[str, float]:
    try:
        return TypeAdapter(dict[str, float]).validate_python(load_provenance(file).get("measured_ms", {}))
    except ValidationError:
        raise RunError(f"{file}: provenance.measured_ms: expected milliseconds by device") from None
