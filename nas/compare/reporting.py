"""The end of a comparison: its figures, conclusions and records are written and printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from nas.cli.command_line import command_of
from nas.cli.console import table_of
from nas.compare.checklist import Evidence, checklist_of
from nas.compare.comparison import ContenderResult, EqualConditions
from nas.compare.conclusions import conclusions_of, is_crippled
from nas.compare.config import CompareConfig
from nas.compare.figures import Figures
from nas.compare.outputs import comparison_table, leads_table, record_of, write_comparison
from nas.compare.searches import FoundElsewhere
from nas.compare.spent import devices_of, seconds_spent
from nas.compare.subject import Subject
from nas.retrain.config import SCRATCH, SUPERNET
from nas.runs.records.comparison import ChecklistAnswer, write_comparison_record
from nas.runs.records.role import Role

BEGUN = {
    SCRATCH: "random weights",
    SUPERNET: "the weights that members of the space inherit in the supernet, and published networks' own",
}
"""What networks began with, in words."""


@dataclass(frozen=True)
class Compared:
    """What a comparison found.

    Args:
        folder: of `comparison.md` and `comparison.csv`.
        rows: test figures of every network by seed, best first.
        subject: the row of the network that was compared with the others.
        conclusions: what the figures say, a sentence each.
    """

    folder: Path
    rows: tuple[ContenderResult, ...]
    subject: ContenderResult
    conclusions: tuple[str, ...] = ()


def report_comparison(
    console: Console, config: CompareConfig, conditions: EqualConditions, subject: Subject, elsewhere: Sequence[FoundElsewhere],
    notes: Sequence[str], rows: Sequence[ContenderResult],
) -> Compared:  # fmt: skip
    """Write and print what a comparison found.

    Args:
        elsewhere: the winners of other searches.
        notes: what else has to be said, such as what could not take part.
        rows: best first.
    """
    figures = _figures(conditions, subject, elsewhere, rows)
    conclusions = (*conclusions_of(figures), *notes)
    searches = {} if config.run is None or subject.supernet_run is None else {config.run: subject.supernet_run}
    searches |= {one.search.config.out: one.supernet_run for one in elsewhere}
    seconds = seconds_spent(searches, conditions, [row.contender for row in rows], config.seeds)
    checklist: tuple[ChecklistAnswer, ...] = ()
    if config.run is not None:
        own = [config.run, *(one.search.config.out for one in elsewhere if one.search.role is Role.WINNER)]
        devices = devices_of(conditions, [row.contender for row in rows], config.seeds)
        checklist = checklist_of(Evidence(config, conditions, figures, config.run, own, devices, seconds))
    record = record_of(conditions, figures, conclusions, seconds, checklist)
    about = _about(config, conditions, figures)
    write_comparison(config.out, figures, record, about)
    write_comparison_record(config.out, record)
    headings, cells = comparison_table(figures, record.metric)
    name, _, _, *figures_of_tests = headings
    _print_table(console, f"Test {record.metric}, retrained alike", headings, cells, [name, *figures_of_tests])
    console.print(f"{about['spread']}.", soft_wrap=True)
    if record.leads:
        headings, cells = leads_table(record)
        _print_table(console, f"What {record.leader} leads by", headings, cells, headings)
    for conclusion in conclusions:
        console.print(conclusion, soft_wrap=True, highlight=False, markup=False)
    console.print(f"table, cost and checklist: {config.out / 'comparison.md'}", soft_wrap=True)
    return Compared(config.out, tuple(rows), figures.subject, conclusions)


def _print_table(console: Console, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[str]) -> None:
    table = table_of(headings, title, texts)
    # Names may take several lines, so that figures have room on a narrow terminal.
    table.columns[0].no_wrap = False
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _figures(
    conditions: EqualConditions, subject: Subject, elsewhere: Sequence[FoundElsewhere], rows: Sequence[ContenderResult]
) -> Figures:
    by_fingerprint = {row.contender.architecture.fingerprint: row for row in rows}

    def row_of(one: FoundElsewhere) -> ContenderResult:
        # Under its own label: what it found may have another one in the table.
        return replace(by_fingerprint[one.contender.architecture.fingerprint], contender=one.contender)

    # Another network may have the same name.
    own = by_fingerprint[subject.contender.architecture.fingerprint]
    return Figures(
        subject=own,
        winners=[own, *(row_of(one) for one in elsewhere if one.search.role is Role.WINNER)],
        homogeneous=[row_of(one) for one in elsewhere if one.search.role is Role.HOMOGENEOUS],
        rows=rows,
        crippled=frozenset(
            fingerprint for fingerprint, row in by_fingerprint.items() if is_crippled(row.contender.architecture, conditions.image_size)
        ),
        fixed={one.search.kind: row_of(one) for one in elsewhere if one.search.role is Role.FIXED},
    )


def _about(config: CompareConfig, conditions: EqualConditions, figures: Figures) -> dict[str, str]:
    recipe = conditions.recipe
    over_seeds = f"means over {config.seeds} seeds, and leads in points, paired by seed, with 95 % intervals over seeds (Student)"
    return {
        "made by": f"`{command_of('nas.compare', config)}`",
        "data": f"{conditions.in_words}, at {conditions.image_size} px",
        "cost": f"of an image of {figures.subject.contender.architecture.image_size} px",
        "recipe": f"{config.recipe_name(conditions.task)}, {recipe.length}, batches of {recipe.batch_size}, learning rate {recipe.lr:g}",
        "begun with": BEGUN[config.from_],
        "spread": over_seeds if config.seeds > 1 else "one seed, with 95 % intervals over images (Wilson); leads in points",
    }
