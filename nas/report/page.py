"""The page: everything that a run's directory tells, put into one file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from nas.draw.rendering import drawing_of
from nas.report import FILE, figures
from nas.report.ablation import Ablation, by_block, read_ablation
from nas.report.choices import Choice, best_of, choices_of
from nas.report.comparison import Comparison, comparison_of
from nas.report.entries import Entry, entries_of
from nas.report.figures import Group
from nas.report.importance import LEAST_TRIALS, importances_of
from nas.report.origin import Origin, check_run, origin_of
from nas.report.wording import mixers_in_words, name_of_others
from nas.runs.records.audit import Audit, audit_of, ranking_in_words
from nas.runs.records.halving import HalvingRecord, read_halving
from nas.study.record import Result, StudyRecord
from proxies.published import parents_within
from space.architecture import Architecture
from space.files import write_atomically
from supernet.intervals import Accuracy

MOST_BARS = 12


@dataclass(frozen=True)
class Findings:
    """All that is told. What was not measured is None or empty, and the page says so."""

    name: str
    origin: Origin
    record: StudyRecord
    results: Sequence[Result]
    drawn: Sequence[Result]
    entries: Sequence[Entry]
    halving: HalvingRecord | None
    comparison: Comparison | None
    audit: Audit | None
    ranking: str
    best: Sequence[Result]
    choices: Sequence[Choice]
    ablation: Ablation | None
    importances: Mapping[str, float]

    @property
    def winner(self) -> Entry:
        """The first row."""
        return self.entries[0]

    @property
    def is_front(self) -> bool:
        """Whether there are several objectives, and so a front in place of runners-up."""
        return len(self.record.objectives) > 1

    @property
    def has_images(self) -> bool:
        """Whether scores are of images, and not numbers of a caller's evaluator."""
        return self.results[0].score.num_images > 0

    @property
    def shows_accuracy(self) -> bool:
        """Whether figures show accuracies: a front is one of log-likelihoods."""
        return self.has_images and not self.is_front

    @property
    def has_line(self) -> bool:
        """Whether the front is a line in a plane."""
        return len(self.record.objectives) == 2

    @property
    def best_in_words(self) -> str:
        """Who is compared with all."""
        return f"the {len(self.best)} on the front" if self.is_front else f"the best tenth ({len(self.best)})"


def read_findings(run: Path, record: StudyRecord) -> Findings:
    """Read everything; errors are one line, with the file's name."""
    check_run(run)
    origin, comparison, results, drawn = origin_of(run), comparison_of(run), record.results(), record.random_draws()
    parents = parents_within(record.space, origin.budget)
    entries = entries_of(run, origin, name_of_others(record), results, drawn, parents, comparison)
    winner = entries[0].architecture
    assert winner is not None
    best = record.front() if len(record.objectives) > 1 else best_of(results)
    return Findings(
        name=run.resolve().name, origin=origin, record=record, results=results, drawn=drawn, entries=entries,
        halving=read_halving(run),
        comparison=comparison, audit=audit_of(run), ranking=ranking_in_words(run) if origin.evaluator == "supernet" else "", best=best,
        choices=choices_of(best, results), ablation=read_ablation(run, winner), importances=importances_of(record.space, results),
    )  # fmt: skip


def write_report(run: Path, record: StudyRecord) -> Path:
    """Write a run's `report.html`, whole or not at all; the same directory gives the same bytes."""
    file = run / FILE
    write_atomically(file, page_of(read_findings(run, record)))
    return file


def page_of(findings: Findings) -> str:
    """The page as HTML."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "interval": interval, "millions": millions}
    environment.globals |= {"by_block": by_block, "mixers_in_words": mixers_in_words}
    template = environment.from_string(files("nas.report").joinpath("page.html.jinja").read_text(encoding="utf-8"))
    return template.render(found=findings, figures=_figures(findings), least_trials=LEAST_TRIALS, targets=_targets(findings))


def percent(share: float) -> str:
    """`41.9`."""
    return f"{100 * share:.1f}"


def millions(amount: int) -> str:
    """Three digits at the least: `0.456`, `14.0`, `4,480`."""
    value = amount / 1e6
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def interval(accuracy: Accuracy | None) -> str:
    """`41.9 [38.9, 45.0]`, in percent; nothing where there is none."""
    return "" if accuracy is None else f"{percent(accuracy.share)} [{percent(accuracy.low)}, {percent(accuracy.high)}]"


def _targets(findings: Findings) -> list[str]:
    return [str(target) for target in findings.origin.budget.targets.values()]


def _figures(findings: Findings) -> dict[str, Any]:
    """By place in the page; what there is nothing to draw of is left out."""
    winner = findings.winner.architecture
    assert winner is not None
    drawn: dict[str, Any] = {
        "winner": figures.in_page(drawing_of(winner), f"The winner, stage by stage: {mixers_in_words(winner)}"),
        "search": _searched(findings),
        "choices": figures.mixers_by_block(
            "choices", f"Shares of mixers in every block, among {findings.best_in_words} and among all; the table below has the figures",
            findings.choices, findings.best_in_words,
        ),
    }  # fmt: skip
    if findings.comparison:
        drawn["comparison"] = _compared(findings.comparison, findings.origin)
    if findings.ablation:
        drawn["ablation"] = figures.gains_by_block(
            "ablation", "What replacing one block's mixer changes in log-likelihood; the table below has the figures",
            list(by_block(findings.ablation)), _held(winner),
        )  # fmt: skip
    if findings.importances:
        most = dict(list(findings.importances.items())[:MOST_BARS])
        first = ", ".join(f"{name} {100 * share:.0f} %" for name, share in most.items())
        drawn["importances"] = figures.bars("importances", f"Importance of the space's slots: {first}", most, "importance, % of all")
    return drawn


def _held(winner: Architecture) -> dict[tuple[int, int], str]:
    return {
        (i, j): block.mixer.label for i, stage in enumerate(winner.stages, start=1) for j, block in enumerate(stage.blocks, start=1)
    }


def _searched(findings: Findings) -> list[Markup]:
    """Everything that was evaluated: accuracy against multiply-adds, or of several objectives accuracy's against each other one."""
    objectives = [objective for objective in findings.record.objectives if objective.quantity]
    axes = [(objective.name, objective.quantity, objective.divisor) for objective in objectives] or [("MFLOPs", "macs", 1e6)]
    drawn = {result.number for result in findings.drawn}
    written = {entry.result.number for entry in findings.entries[1:] if entry.result and entry.label.startswith(("next", "front"))}
    winner = findings.winner.result
    assert winner is not None
    plots = []
    for name, quantity, divisor in axes:
        assert quantity is not None

        def place(result: Result, quantity: str = quantity, divisor: float = divisor) -> tuple[float, float]:
            height = 100 * result.score.accuracy if findings.shows_accuracy else result.score.log_likelihood
            return result.amounts[quantity] / divisor, height

        rest = [result for result in findings.results if result.number not in written | {winner.number}]
        groups = [
            Group("proposed", [place(result) for result in rest if result.number not in drawn], "#8C8C8C", "o", 9),
            Group("drawn at random", [place(result) for result in rest if result.number in drawn], figures.BLUE, "x", 12),
            Group("front" if findings.is_front else "next best", [place(one) for one in findings.results if one.number in written],
                  figures.ORANGE, "D", 22),
            Group(findings.winner.label, [place(winner)], figures.VERMILION, "*", 90),
        ]  # fmt: skip
        about = "accuracy, %" if findings.shows_accuracy else "log-likelihood" if findings.has_images else "score"
        unit = f"{name}, predicted" if quantity in findings.origin.budget.targets else name
        at = f"{findings.winner.label} at {place(winner)[0]:.3g}"
        alt = f"{about} of {len(findings.results)} evaluated architectures against {unit}; {at}"
        limit = findings.origin.budget.limits.get(quantity)
        front = [place(result) for result in findings.best] if findings.has_line else []
        plots.append(
            figures.trade_off(f"search {quantity}", alt, groups, unit, about, None if limit is None else limit / divisor, front)
        )
    return plots


def _compared(comparison: Comparison, origin: Origin) -> Markup:
    kinds = [
        ("published networks", figures.GREEN, "s", [one for one in comparison.networks if not one.is_random and one.label != "found"]),
        ("random ones inside the budget", figures.BLUE, "o", [one for one in comparison.networks if one.is_random]),
        ("winner", figures.VERMILION, "*", [one for one in comparison.networks if one.label == "found"]),
    ]
    groups = [
        Group(
            name, [(one.macs / 1e6, 100 * one.test.share) for one in networks], colour, marker, 90 if name == "winner" else 26,
            [one.test for one in networks], [one.label for one in networks] if marker == "s" else (),
        )
        for name, colour, marker, networks in kinds
    ]  # fmt: skip
    reached = ", ".join(f"{one.label} {100 * one.test.share:.1f} %" for one in comparison.networks)
    limit = origin.budget.limits.get("macs")
    alt = f"Test accuracy against multiply-adds, retrained alike: {reached}"
    return figures.trade_off("comparison", alt, groups, "MFLOPs", "test accuracy, %", None if limit is None else limit / 1e6)
