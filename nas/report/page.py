"""The page: the findings about a search as one HTML file that loads nothing."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from nas.draw.rendering import drawing_of
from nas.report import FILE, figures
from nas.report.cost_columns import MacsUnit, amount, macs_unit
from nas.report.figures import Series
from nas.report.final_training import outcome_in_words
from nas.report.findings import Findings, read_findings
from nas.report.wording import mixers_in_words, sentence_case, tied_in_words
from nas.runs.records.comparison import ComparisonRecord
from nas.runs.records.role import Role
from nas.study.record import Result, StudyRecord
from proxies.cost import Budget
from space.architecture import Architecture
from space.files import write_atomically
from supernet.intervals import Interval

MOST_BARS = 12
NAMED = (Role.PARENT, Role.OTHER, Role.HOMOGENEOUS)
"""Roles whose networks have their names in the figure of test results."""


def write_report(run: Path, study: StudyRecord) -> Path:
    """Write a run's `report.html`, whole or not at all; the same directory gives the same bytes."""
    file = run / FILE
    write_atomically(file, page_of(read_findings(run, study)))
    return file


def page_of(findings: Findings) -> str:
    """The page as HTML."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    unit = macs_unit(findings.winner.cost.macs)
    environment.filters |= {
        "percent": percent, "interval": interval, "millions": millions, "base64": _base64, "macs": lambda macs: amount(macs / unit.macs),
    }
    template = environment.from_string(files("nas.report").joinpath("page.html.jinja").read_text(encoding="utf-8"))
    targets = [str(target) for target in findings.search.budget.targets.values()]
    return template.render(
        found=findings, figures=_figures(findings), unit=unit, not_measured=list(_not_measured(findings)), targets=targets,
        memory=findings.search.budget.memory, mixers_in_words=mixers_in_words, sentence_case=sentence_case,
        published=[row for row in findings.rows if row.published is not None],
        outcome=outcome_in_words(findings.halving) if findings.halving and findings.halving.finished else "",
        tied=_tied_in_words(findings),
    )


def _tied_in_words(findings: Findings) -> str:
    """Who cannot be told apart from the winner; successive halving and a front have their own sentences."""
    written = [row.result.score for row in findings.rows if row.result and row.role in (Role.WINNER, Role.NEXT_BEST)]
    return "" if findings.halving or findings.is_front else tied_in_words(written)


def _base64(content: bytes) -> str:
    return b64encode(content).decode()


def percent(share: float) -> str:
    """`41.9`."""
    return f"{100 * share:.1f}"


def millions(number: int) -> str:
    """In millions."""
    return amount(number / 1e6)


def _not_measured(findings: Findings) -> Iterator[tuple[str, str]]:
    """What a page could tell, and the command that measures it."""
    if not findings.comparison:
        yield f"test {findings.metric} of all these architectures, retrained alike", "nas.compare"
    if not findings.search.has_supernet:
        return
    if not findings.ablation:
        yield "what each block’s mixer is worth", "nas.report --ablation"
    if not findings.audit:
        yield "how well the scores rank", "nas.audit"


def interval(found: Interval | None) -> str:
    """`41.9 [38.9, 45.0]`, in percent; nothing where there is none."""
    return "" if found is None else found.in_percent


def _figures(findings: Findings) -> dict[str, Any]:
    """The figures by name, the charts for a phone and for a wider page; those without data are left out."""
    winner = findings.winner.architecture
    assert winner is not None
    narrow, wide = (_charts(findings, winner, width) for width in (figures.NARROW, figures.WIDE))
    both = Markup('<div class="narrow">{}</div><div class="wide">{}</div>')
    charts = {name: [both.format(*pair) for pair in zip(narrow[name], wide[name], strict=True)] for name in narrow}
    return charts | {"winner": figures.in_page(drawing_of(winner), f"The winner, stage by stage: {mixers_in_words(winner)}")}


def _charts(findings: Findings, winner: Architecture, width: float) -> dict[str, list[Markup]]:
    drawn = {
        "search": _searched(findings, width),
        "mixers": [figures.mixers_by_block(
            "mixers", f"Shares of mixers in every block, among {findings.best_in_words} and among all; the table below has the figures",
            findings.mixer_counts, findings.best_in_words, width,
        )],
    }  # fmt: skip
    if findings.comparison:
        drawn["comparison"] = [_compared(findings.comparison, findings.search.budget, macs_unit(findings.winner.cost.macs), width)]
    if findings.ablation:
        drawn["ablation"] = [figures.effects_by_block(
            "ablation", "What replacing one block's mixer changes in log-likelihood; the table below has the figures",
            findings.ablation.by_block, _mixers_of(winner), findings.task.unit, width,
        )]  # fmt: skip
    if findings.importances:
        most = dict(list(findings.importances.items())[:MOST_BARS])
        in_words = ", ".join(f"{name} {100 * share:.0f} %" for name, share in most.items())
        alt = f"Importance of the space's slots: {in_words}"
        drawn["importances"] = [figures.bars("importances", alt, most, "importance, % of all", width)]
    return drawn


def _mixers_of(winner: Architecture) -> dict[tuple[int, int], str]:
    """Labels of the mixers by stage and block, counted from 1."""
    stages = enumerate(winner.stages, start=1)
    return {(i, j): block.mixer.label for i, stage in stages for j, block in enumerate(stage.blocks, start=1)}


def _searched(findings: Findings, width: float) -> list[Markup]:
    """All evaluated: log-likelihood or score against multiply-adds, or with several objectives against each cost."""
    macs = macs_unit(findings.winner.cost.macs)
    costs = {objective.quantity: (objective.name, objective.divisor) for objective in findings.study.objectives if objective.quantity}
    axes = {quantity: macs if quantity == "macs" else axis for quantity, axis in costs.items()} or {"macs": macs}
    return [_trade_off(findings, name, quantity, divisor, width) for quantity, (name, divisor) in axes.items()]


def _trade_off(findings: Findings, name: str, quantity: str, divisor: float, width: float) -> Markup:
    """All evaluated architectures in a plane of one cost and log-likelihood or score."""
    drawn = {result.number for result in findings.drawn}
    written = {row.result.number for row in findings.rows[1:] if row.result and row.role in (Role.NEXT_BEST, Role.FRONT)}
    winner, budget = findings.winner.result, findings.search.budget
    assert winner is not None

    def point(result: Result) -> tuple[float, float]:
        return result.costs[quantity] / divisor, result.score.log_likelihood

    parents = {row.result.number: row for row in findings.rows if row.result and row.role is Role.PARENT}
    rest = [result for result in findings.results if result.number not in written | parents.keys() | {winner.number}]
    series = [
        Series("proposed", [point(result) for result in rest if result.number not in drawn], "#8C8C8C", "o", 9),
        Series("drawn at random", [point(result) for result in rest if result.number in drawn], figures.BLUE, "x", 12),
        Series("front" if findings.is_front else "next best", [point(one) for one in findings.results if one.number in written],
               figures.ORANGE, "D", 22),
        Series("published networks", [point(row.result) for row in parents.values() if row.result], figures.GREEN, "s", 26,
               labels=[row.label for row in parents.values()]),
        Series(findings.winner.label, [point(winner)], figures.VERMILION, "*", 90),
    ]  # fmt: skip
    reached = "log-likelihood" if findings.has_images else "score"
    cost = f"{name}, predicted" if quantity in budget.targets else name
    at = f"{findings.winner.label} at {point(winner)[0]:.3g}"
    alt = f"{reached} of {len(findings.results)} evaluated architectures against {cost}; {at}"
    limit = budget.limits.get(quantity)
    front = [point(result) for result in findings.best] if findings.has_line else []
    return figures.trade_off(f"search {quantity}", alt, series, cost, reached, None if limit is None else limit / divisor, width, front)


def _compared(comparison: ComparisonRecord, budget: Budget, unit: MacsUnit, width: float) -> Markup:
    """The test figure against multiply-adds."""
    series = []
    for name, role, colour, marker, size in (
        ("published networks", Role.PARENT, figures.GREEN, "s", 26),
        ("others", Role.OTHER, figures.ORANGE, "D", 22),
        ("one mixer alone", Role.HOMOGENEOUS, figures.PURPLE, "^", 26),
        ("one kind of choice fixed", Role.FIXED, figures.YELLOW, "v", 26),
        ("random ones inside the budget", Role.RANDOM, figures.BLUE, "o", 26),
        ("random ones with even operators", Role.EVEN_RANDOM, figures.SKY, "o", 26),
        ("winner", Role.WINNER, figures.VERMILION, "*", 90),
    ):  # fmt: skip
        networks = comparison.of_role(role)
        points = [(one.macs / unit.macs, 100 * one.test.share) for one in networks]
        labels = [one.label for one in networks] if role in NAMED else ()
        series.append(Series(name, points, colour, marker, size, [one.test for one in networks], labels))
    reached = ", ".join(f"{one.label} {100 * one.test.share:.1f} %" for one in comparison.networks)
    alt = f"Test {comparison.metric} against multiply-adds, retrained alike: {reached}"
    limit = budget.limits.get("macs")
    reached = f"test {comparison.metric}, %"
    return figures.trade_off("comparison", alt, series, unit.name, reached, None if limit is None else limit / unit.macs, width)
