"""A bench: a table of what every architecture of a sample costs, reached when it trained alone, and was scored, for others to query.

It is a CSV with a row an architecture, and the architectures as YAML beside it. Columns are named by what they hold:

- `fingerprint`, `yaml`, `part`, `macs`, `params`, `depth`
- `ms: cpu:1t:bs1:fp32`, the latency on that device
- `accuracy: 600 steps, seed 1`, or another task's headline figure, and `log-likelihood: ...`, of a training alone; with ` at 100`
  after it, part of the way
- `core-seconds: 600 steps, seed 1`
- `score: naswot` and so on, greater is better
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.audit.analysis import Truth
from nas.audit.predictors import Predictor
from nas.evaluators.trainings import Trained, Training
from nas.runs.records.tables import write_csv
from space.architecture import Architecture
from space.errors import UserError, one_line
from space.files import load_architecture, write_atomically

TABLE, ARCHITECTURES, PAGE = "bench.csv", "architectures", "README.md"
TEXTS = frozenset({"fingerprint", "yaml", "part"})


@dataclass(frozen=True)
class BenchRow:
    """One architecture of a bench, and its numbers by column; a training that was not done has no column."""

    architecture: Architecture
    part: str
    numbers: Mapping[str, float]


def load_bench(folder: Path) -> list[BenchRow]:
    """Read a bench's folder; UserError where a file is damaged, or an architecture is not the one that the table is of."""
    file = folder / TABLE
    try:
        with file.open(newline="", encoding="utf-8") as text:
            table = list(csv.DictReader(text, restkey="", strict=True))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not a table ({one_line(error)})") from None
    return [_row(folder, f"{file}: row {number}", row) for number, row in enumerate(table, start=1)]


def _row(folder: Path, where: str, row: Mapping[str, Any]) -> BenchRow:
    if not row.keys() >= TEXTS or None in row.values() or "" in row:
        raise UserError(f"{where}: got {len(row)} columns, expected {', '.join(sorted(TEXTS))} and one for every heading")
    path = Path(row["yaml"])
    if path.parts[:-1] != (ARCHITECTURES,) or path.suffix != ".yaml" or not row["yaml"].isprintable():
        raise UserError(f"{where}: yaml: got {row['yaml']!r:.60}, expected a file in {ARCHITECTURES}/")
    architecture = load_architecture(folder / path)
    if architecture.fingerprint != row["fingerprint"]:
        raise UserError(f"{folder / path}: got {architecture.fingerprint}, expected the architecture {row['fingerprint']!r:.60}")
    numbers = {}
    for column, value in row.items():
        if column not in TEXTS and value:
            try:
                numbers[column] = float(value)
            except ValueError:
                raise UserError(f"{where}: {column!r:.60}: got {value!r:.60}, expected a number") from None
    return BenchRow(architecture, row["part"], numbers)


def write_bench(
    folder: Path,
    sample: Path,
    truth: Truth,
    predictors: Sequence[Predictor],
    results: Mapping[Training, Trained],
    milliseconds: Mapping[str, Sequence[float]],
) -> None:
    """Write the table, and copies of the sample's YAML files.

    Args:
        milliseconds: of every member, by device.
    """
    (folder / ARCHITECTURES).mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[str, Any]] = {}
    for row, member in enumerate(truth.members):
        architecture = member.architecture
        file = f"{architecture.name}.yaml"
        write_atomically(folder / ARCHITECTURES / file, (sample / file).read_bytes())
        rows[architecture.fingerprint] = {
            "fingerprint": architecture.fingerprint, "yaml": f"{ARCHITECTURES}/{file}", "part": member.part,
            "macs": member.macs, "params": member.params, "depth": architecture.depth,
            **{f"ms: {device}": round(of_device[row], 4) for device, of_device in milliseconds.items()},
            **{f"score: {predictor.name}": predictor.scores[row] for predictor in predictors},
        }  # fmt: skip
    for training, result in results.items():
        rows[result.fingerprint] |= _of_training(f"{training.steps} steps, seed {training.seed}", result)
    write_csv(folder / TABLE, list(rows.values()))


def write_page(folder: Path, facts: Mapping[str, str], command: str) -> None:
    """Write how the bench was made and how it is read."""
    made = [f"- {name}: {value}" for name, value in facts.items()]
    lines = ["# Token mixers, trained alone", "", "Made by", "", f"    {command}", "", *made, "", *_ABOUT, "", "```python", *_USE, "```"]
    write_atomically(folder / PAGE, "\n".join(lines) + "\n")


_ABOUT = (
    "Half of the architectures (`part` is `band`) cost the same multiply-adds to within 5 %; the others are spread from the least",
    "that the space can cost to twice that. Each was trained from random weights, with AdamW, a warm-up and a cosine, random crops",
    "and mirroring, in fp32 on one thread; it was scored on images that no training saw. Trainings with seed 1000 are apart from",
    "the truth: short ones, judged as predictors, and long ones, where there are any, which show whether it holds.",
    "",
    f"`{TABLE}` has a row an architecture, `{ARCHITECTURES}/` their YAML; `nas/audit/table.py` describes the columns.",
)
_USE = (
    "from pathlib import Path",
    "",
    "from nas.audit.table import load_bench",
    "",
    'rows = load_bench(Path("experiments/results/token-mixer-bench"))',
    'best = max(rows, key=lambda row: row.numbers["score: supernet"])',
)


def _of_training(name: str, result: Trained) -> dict[str, float]:
    numbers = {f"core-seconds: {name}": result.core_seconds}
    for at, score in {"": result.score, **{f" at {step}": score for step, score in result.curve.items()}}.items():
        numbers |= {f"{score.metric}: {name}{at}": score.value, f"log-likelihood: {name}{at}": score.log_likelihood}
    return numbers
