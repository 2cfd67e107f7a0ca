"""`audit/report.json`: how well scores rank, as far as other commands read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nas.runs.records.json_file import read_record
from space.errors import UserError

FOLDER, REPORT = "audit", "report.json"
SUPERNET = "supernet"
"""What the report calls the supernet's scores."""
GROUPS = ("overall", "band")
"""Of the architectures in the sample: all, and those with the same number of multiply-adds."""


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
    """What an audit found.

    Args:
        verdict: its conclusions, in sentences.
        facts: what it was made on, by heading.
        correlations: rank correlations with stand-alone training, by group, `overall` or `band`, and predictor.
        corrections: what to subtract from a score, by operator.
    """

    verdict: tuple[str, ...]
    facts: dict[str, str]
    correlations: dict[str, dict[str, RankCorrelation]]
    corrections: dict[str, float] = field(default_factory=dict)

    @property
    def rows(self) -> list[tuple[str, list[RankCorrelation | None]]]:
        """Every predictor with its correlations, overall and at equal multiply-adds; None where one was not computed."""
        names = dict.fromkeys(name for group in GROUPS for name in self.correlations.get(group, {}))
        return [(name, [self.correlations.get(group, {}).get(name) for group in GROUPS]) for name in names]


def audit_of(run: Path) -> Audit | None:
    """The audit of a run's directory; None where none was made. RunError where its report is damaged."""
    return read_record(run / FOLDER / REPORT, Audit, "the report of nas.audit")


def ranking_in_words(run: Path) -> str:
    """How well the scores of a run's supernet rank, in one sentence."""
    audit = audit_of(run)
    return audit.verdict[0] if audit and audit.verdict else "How well this supernet ranks was not measured; nas.audit does that."


def corrections_of(run: Path) -> dict[str, float]:
    """What to subtract from the log-likelihoods of a run's supernet, by operator, as `nas.audit.operator_bias.corrected` does.

    Raises UserError where there is no audit of a supernet.
    """
    audit = audit_of(run)
    if audit is None or SUPERNET not in audit.correlations.get("overall", {}):
        file = run / FOLDER / REPORT
        raise UserError(f"--subtract-bias: got no audit of a supernet in {file}; train one with nas.train, then audit it with nas.audit")
    return audit.corrections
