"""What is known of a finished search: its trials, and what was measured of its architectures afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.report.importance import importances_of
from nas.report.mixer_counts import MixerCounts, best_of, mixer_counts
from nas.report.result_table import ResultRow, result_rows
from nas.runs.records.ablation import AblationRecord, read_ablation
from nas.runs.records.audit import Audit, audit_of
from nas.runs.records.comparison import ComparisonRecord, read_comparison
from nas.runs.records.examples import ExamplesRecord, read_examples
from nas.runs.records.halving import HalvingRecord, read_halving
from nas.runs.records.search import SearchRecord, read_finished_search
from nas.study.record import Result, StudyRecord
from supernet.tasks.task import Task, task_of_head


@dataclass(frozen=True)
class Findings:
    """Everything that a page shows. What was not measured is None or empty.

    Args:
        results: best first; `drawn` are those that were drawn at random.
        best: results whose mixers are compared with those of all: the best tenth, or the front.
        examples, pictures: what the winner answers on some images; see `nas.runs.records.examples`.
    """

    name: str
    search: SearchRecord
    study: StudyRecord
    results: Sequence[Result]
    drawn: Sequence[Result]
    best: Sequence[Result]
    rows: Sequence[ResultRow]
    halving: HalvingRecord | None
    comparison: ComparisonRecord | None
    ablation: AblationRecord | None
    audit: Audit | None
    examples: ExamplesRecord | None
    pictures: Sequence[bytes]
    mixer_counts: Sequence[MixerCounts]
    importances: Mapping[str, float]

    @property
    def winner(self) -> ResultRow:
        """The first row."""
        return self.rows[0]

    @property
    def is_front(self) -> bool:
        """Whether there are several objectives, and so a front instead of the next best."""
        return len(self.study.objectives) > 1

    @property
    def task(self) -> Task:
        """What the networks are for."""
        return task_of_head(self.study.space)

    @property
    def metric(self) -> str:
        """What the headline figure is called."""
        return self.results[0].score.metric

    @property
    def has_images(self) -> bool:
        """Whether scores were measured on images; a caller's evaluator returns only numbers."""
        return self.results[0].score.num_images > 0

    @property
    def has_line(self) -> bool:
        """Whether the front is a line in a plane."""
        return len(self.study.objectives) == 2

    @property
    def best_in_words(self) -> str:
        """Whose mixers are compared with those of all."""
        return f"the {len(self.best)} on the front" if self.is_front else f"the best tenth ({len(self.best)})"


def read_findings(run: Path, study: StudyRecord) -> Findings:
    """Read everything; RunError names a damaged file."""
    search, comparison, results, drawn = read_finished_search(run), read_comparison(run), study.results(), study.random_draws()
    rows = result_rows(run, search, study, results, drawn, comparison)
    best = study.front() if len(study.objectives) > 1 else best_of(results)
    winner = rows[0].architecture
    assert winner is not None
    examples, pictures = read_examples(run, winner.fingerprint) or (None, [])
    return Findings(
        name=run.resolve().name, search=search, study=study, results=results, drawn=drawn, best=best, rows=rows, halving=read_halving(run),
        comparison=comparison, ablation=read_ablation(run, winner.fingerprint), audit=audit_of(run), examples=examples, pictures=pictures,
        mixer_counts=mixer_counts(best, results),
        importances=importances_of(study.space, results),
    )  # fmt: skip
