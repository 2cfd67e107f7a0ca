"""What a comparison writes and prints: a table of its networks, and a CSV with a row a retraining."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.compare.comparison import ContenderResult, EqualConditions
from nas.runs.records.comparison import ComparedNetwork, ComparisonRecord
from nas.runs.records.role import Role
from nas.runs.records.tables import markdown_table, write_csv
from space.files import write_atomically


def comparison_table(rows: Sequence[ContenderResult], subject: ContenderResult, metric: str) -> tuple[list[str], list[list[str]]]:
    """Headings and cells: what every network costs and reaches, and by how much the subject of the comparison leads."""
    median = median_of_random(rows)
    cells = []
    for row in rows:
        label = f"{row.contender.label} (their median)" if row is median else row.contender.label
        reached = f"{100 * row.mean:.1f}" if row.interval is None else row.interval.in_percent
        cost = row.contender.cost
        by_seed = " ".join(f"{100 * value:.1f}" for value in row.by_seed)
        lead = "" if row is subject else _lead_in_words(row, subject)
        cells.append([label, f"{cost.macs / 1e6:.3g}", f"{cost.params / 1e6:.2f}", reached, by_seed, lead])
    return ["", "MFLOPs", "Mparams", f"test {metric}, %", "by seed", f"{subject.contender.label} leads by"], cells


def median_of_random(rows: Sequence[ContenderResult]) -> ContenderResult | None:
    """The median, by mean, of those drawn at random; of an even number the lower one of the two."""
    drawn = sorted((row for row in rows if row.contender.role is Role.RANDOM), key=lambda row: row.mean)
    return drawn[(len(drawn) - 1) // 2] if drawn else None


def _lead_in_words(row: ContenderResult, subject: ContenderResult) -> str:
    lead, interval = row.lead_of(subject)
    return f"{100 * lead:+.1f}" + (f" [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]" if interval else "")


def write_comparison(
    folder: Path, headings: Sequence[str], cells: Sequence[Sequence[str]], rows: Sequence[ContenderResult], metric: str,
    about: Mapping[str, str],
) -> None:
    """Write `comparison.md`, and `comparison.csv` with a row a retraining."""
    lines = ["# Retrained alike", "", *(f"- {name}: {value}" for name, value in about.items()), "", *markdown_table(headings, cells)]
    write_atomically(folder / "comparison.md", "\n".join(lines) + "\n")
    of_seeds: list[dict[str, object]] = []
    for row in rows:
        network, cost = row.contender, row.contender.cost
        facts = {"network": network.label, "fingerprint": network.architecture.fingerprint, "macs": cost.macs, "params": cost.params}
        of_seeds += [{**facts, "seed": seed, f"test_{metric}": value} for seed, value in enumerate(row.by_seed)]
    write_csv(folder / "comparison.csv", of_seeds)


def record_of(conditions: EqualConditions, rows: Sequence[ContenderResult]) -> ComparisonRecord:
    """What the report reads."""
    networks = []
    for row in rows:
        one, cost = row.contender, row.contender.cost
        fingerprint, num_images = one.architecture.fingerprint, len(conditions.test_images)
        networks.append(ComparedNetwork(one.label, fingerprint, cost.macs, cost.params, one.role, row.by_seed, num_images, row.stderr))
    return ComparisonRecord(tuple(networks), conditions.recipe.length, conditions.recipe.batch_size, conditions.task.metric)
