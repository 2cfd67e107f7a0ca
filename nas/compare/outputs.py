"""What a comparison writes: pages and tables of its networks, a CSV with a row a retraining, and the record that a report reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nas.compare.comparison import ContenderResult, EqualConditions
from nas.compare.figures import Figures
from nas.compare.leads import leads_of
from nas.report.cost_columns import cost_cells, macs_unit
from nas.runs.records.comparison import ChecklistAnswer, ComparedNetwork, ComparisonRecord
from nas.runs.records.role import Role
from nas.runs.records.tables import markdown_table, write_csv
from space.files import write_atomically


def comparison_table(figures: Figures, metric: str) -> tuple[list[str], list[list[str]]]:
    """Headings and cells: what every network costs and reaches, and by how much the subject of the comparison leads."""
    subject, median = figures.subject, median_of_random(figures.rows)
    unit = macs_unit(subject.contender.cost.macs)
    cells = []
    for row in figures.rows:
        label = f"{row.contender.label} (their median)" if row is median else row.contender.label
        if row.contender.architecture.fingerprint in figures.crippled:
            label += " (sees one pixel)"
        reached = f"{100 * row.mean:.1f}" if row.interval is None else row.interval.in_percent
        by_seed = " ".join(f"{100 * value:.1f}" for value in row.by_seed)
        lead = "" if row is subject else row.lead_of(subject).in_points
        cells.append([label, *cost_cells(row.contender.cost, unit), reached, by_seed, lead])
    return ["", unit.name, "Mparams", f"test {metric}, %", "by seed", f"{subject.contender.label} leads by"], cells


def leads_table(record: ComparisonRecord) -> tuple[list[str], list[list[str]]]:
    """Headings and cells: by how much the winners of all searches lead over each network or group that answers a question."""
    rows = [[one.label, f"{100 * one.mean:.1f}", one.in_points] for one in record.leads]
    return ["over", f"test {record.metric}, %", "lead, points"], rows


def median_of_random(rows: Sequence[ContenderResult]) -> ContenderResult | None:
    """The median, by mean, of those drawn at random; of an even number the lower one of the two."""
    drawn = sorted((row for row in rows if row.contender.role is Role.RANDOM), key=lambda row: row.mean)
    return drawn[(len(drawn) - 1) // 2] if drawn else None


def write_comparison(folder: Path, figures: Figures, record: ComparisonRecord, about: Mapping[str, str]) -> None:
    """Write `comparison.md`, and `comparison.csv` with a row a retraining."""
    write_atomically(folder / "comparison.md", "\n".join(_page(figures, record, about)) + "\n")
    of_seeds: list[dict[str, object]] = []
    for row in figures.rows:
        network, cost = row.contender, row.contender.cost
        facts = {"network": network.label, "fingerprint": network.architecture.fingerprint, "macs": cost.macs, "params": cost.params}
        of_seeds += [{**facts, "seed": seed, f"test_{record.metric}": value} for seed, value in enumerate(row.by_seed)]
    write_csv(folder / "comparison.csv", of_seeds)


def record_of(
    conditions: EqualConditions, figures: Figures, conclusions: Sequence[str], seconds: Mapping[str, float],
    checklist: Sequence[ChecklistAnswer],
) -> ComparisonRecord:  # fmt: skip
    """What the report reads."""
    networks = []
    for row in figures.rows:
        one, cost = row.contender, row.contender.cost
        fingerprint, num_images = one.architecture.fingerprint, len(conditions.test_images)
        networks.append(
            ComparedNetwork(
                one.label, fingerprint, cost.macs, cost.params, one.role, row.by_seed, num_images, row.stderr,
                fingerprint in figures.crippled,
            )
        )  # fmt: skip
    return ComparisonRecord(
        tuple(networks), conditions.recipe.length, conditions.recipe.batch_size, conditions.task.metric, tuple(conclusions),
        figures.winners_in_words, tuple(leads_of(figures)), dict(seconds), tuple(checklist),
    )  # fmt: skip


def _page(figures: Figures, record: ComparisonRecord, about: Mapping[str, str]) -> Iterator[str]:
    yield from ("# Retrained alike", "", *(f"- {name}: {value}" for name, value in about.items()), "")
    yield from markdown_table(*comparison_table(figures, record.metric))
    if record.conclusions:
        yield from ("", "## What the figures say", "", *(f"- {conclusion}" for conclusion in record.conclusions))
    if record.leads:
        yield from ("", f"## What {record.leader} leads by", "")
        yield from markdown_table(*leads_table(record))
    if record.seconds:
        yield from ("", "## What it cost", "", "Supernets train on all cores, all else on one core each.", "")
        total = {**record.seconds, "in all": sum(record.seconds.values())}
        yield from markdown_table(["", "seconds"], [[name, f"{seconds:,.0f}"] for name, seconds in total.items()])
    if record.checklist:
        source = "The checklist for research on architecture search of [Lindauer and Hutter](https://jmlr.org/papers/v21/20-056.html)."
        yield from ("", "## Best practices", "", source, "")
        yield from markdown_table(["", "", "since"], [[one.point, one.answer, one.fact] for one in record.checklist])
