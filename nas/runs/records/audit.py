"""`audit/report.json`: how well scores rank, as far as others than the audit itself read it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from nas.runs.records.reading import read_json
from space.errors import UserError

FOLDER, REPORT = "audit", "report.json"
SUPERNET = "supernet"
"""What the report calls the supernet's scores."""
GROUPS = ("overall", "band")
"""Of the sample: all of it, and those that cost the same."""


@dataclass(frozen=True)
class RankCorrelation:
    """Rank correlations of two rankings of the same architectures, with bootstrap intervals over architectures (95 %).

    Args:
        tau: Kendall's, with ties (b).
        rho: Spearman's.
    """

    tau: float
    tau_interval: tuple[float, float]
    rho: float
    rho_interval: tuple[float, float]
    count: int


@dataclass(frozen=True)
class Audit:
    """The audit's report, as far as a page shows it.

    Args:
        verdict: sentences.
        facts: what it was made on, by heading.
        correlations: rank correlations with the truth by group, `overall` or `band`, and predictor.
    """

    verdict: tuple[str, ...]
    facts: dict[str, str]
    correlations: dict[str, dict[str, RankCorrelation]]

    @property
    def rows(self) -> list[tuple[str, list[RankCorrelation | None]]]:
        """By predictor, its agreement overall and at equal multiply-adds."""
        names = dict.fromkeys(name for group in GROUPS for name in self.correlations.get(group, {}))
        return [(name, [self.correlations.get(group, {}).get(name) for group in GROUPS]) for name in names]


def audit_of(run: Path) -> Audit | None:
    """The audit of a run's directory; None where none was made."""
    file = run / FOLDER / REPORT
    return read_json(file, TypeAdapter(Audit), "the report of nas.audit") if file.is_file() else None


def ranking_in_words(folder: Path) -> str:
    """One sentence about how well a run's supernet ranks, from its audit; that none was made where there is none."""
    file = folder / FOLDER / REPORT
    try:
        return str(json.loads(file.read_text())["verdict"][0])
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return "How well this supernet ranks was not measured; nas.audit does that."


def corrections_of(folder: Path) -> dict[str, float]:
    """What a run's audit found to subtract from its supernet's log-likelihoods, as `nas.audit.operator_bias.corrected` does.

    Raises UserError where there is no audit of a supernet.
    """
    file = folder / FOLDER / REPORT
    try:
        content = json.loads(file.read_text())
        has_supernet = SUPERNET in content["correlations"]["overall"]
    except (OSError, ValueError, KeyError, TypeError):
        has_supernet = False
    if not has_supernet:
        raise UserError(f"--subtract-bias: got no audit of a supernet in {file}; train one with nas.train, then audit it with nas.audit")
    return dict(content["corrections"])
