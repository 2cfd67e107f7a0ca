"""What `nas.audit` found out about a run's ranking."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from nas.audit.analysis import GROUPS
from nas.audit.correlation import Agreement
from nas.audit.report import REPORT
from nas.runs.records.reading import read_json

FOLDER = "audit"


@dataclass(frozen=True)
class Audit:
    """The audit's report, as far as a page shows it.

    Args:
        verdict: sentences.
        facts: what it was made on, by heading.
        agreements: rank correlations with the truth by group, `overall` or `band`, and predictor.
    """

    verdict: tuple[str, ...]
    facts: dict[str, str]
    agreements: dict[str, dict[str, Agreement]]

    @property
    def rows(self) -> list[tuple[str, list[Agreement | None]]]:
        """By predictor, its agreement overall and at equal multiply-adds."""
        names = dict.fromkeys(name for group in GROUPS for name in self.agreements.get(group, {}))
        return [(name, [self.agreements.get(group, {}).get(name) for group in GROUPS]) for name in names]


def audit_of(run: Path) -> Audit | None:
    """The audit of a run's directory; None where none was made."""
    file = run / FOLDER / REPORT
    return read_json(file, TypeAdapter(Audit), "the report of nas.audit") if file.is_file() else None
