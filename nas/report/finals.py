"""How a run's finals went: what the best scored when they trained alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from pydantic import TypeAdapter

from nas.evaluators.standalone import BATCH_SIZE, Conditions, Training
from nas.report.origin import Origin, read_json
from nas.search.config import STANDALONE
from nas.search.finals import LAST_SEEDS
from nas.study.record import Result
from proxies.published import Parent
from space.architecture import Architecture
from space.search_space import SearchSpace
from supernet.accuracy import Score


@dataclass(frozen=True)
class Finalist:
    """Who took part: the scores of every stage, one a seed; none of the stages after it left."""

    label: str
    architecture: Architecture
    stages: tuple[tuple[Score, ...], ...]

    @property
    def rank_key(self) -> tuple[int, float]:
        """Sorts by how far it came, then by what it scored there."""
        last = max(number for number, scores in enumerate(self.stages) if scores)
        return last, mean(score.log_likelihood for score in self.stages[last])


@dataclass(frozen=True)
class Finals:
    """All finalists, who came furthest first, and the steps of every stage."""

    steps: tuple[int, ...]
    finalists: tuple[Finalist, ...]

    @property
    def num_images(self) -> int:
        """Search images that they were scored on."""
        return self.finalists[0].stages[0][0].num_images


def finals_of(run: Path, origin: Origin, space: SearchSpace, results: Sequence[Result], parents: Sequence[Parent]) -> Finals | None:
    """The finals of a run's directory; None where none were held."""
    folder = run / STANDALONE
    if not (folder / "steps.json").is_file():
        return None
    steps = read_json(folder / "steps.json", TypeAdapter(tuple[int, ...]), "the steps of a search's finals")
    conditions = Conditions(origin.supernet_run(run, space), BATCH_SIZE, folder)
    labelled = [(f"trial {result.number}", result.architecture) for result in results]
    labelled += [(parent.architecture.name, parent.architecture) for parent in parents]
    finalists: dict[str, Finalist] = {}
    for label, architecture in labelled:
        stages = tuple(_scores(conditions, architecture, of_stage) for of_stage in steps)
        if stages and stages[0]:
            finalists.setdefault(architecture.fingerprint, Finalist(label, architecture, stages))
    ranked = sorted(finalists.values(), key=lambda one: one.rank_key, reverse=True)
    return Finals(steps, tuple(ranked)) if ranked else None


def _scores(conditions: Conditions, architecture: Architecture, steps: int) -> tuple[Score, ...]:
    trainings: Sequence[Training] = [Training(architecture, steps, seed) for seed in range(LAST_SEEDS)]
    return tuple(result.score for training in trainings if (result := conditions.result_of(training)))
