"""What a supernet's training depends on, alone or as a part of a search."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.cli.options import Config, Derived, Group, option

WHAT, HOW, WHERE = Group("what"), Group("how long and how"), Group("where")
PATHS = ("uniform", "fair", "sandwich")
SCOPES = ("space", "band")


@dataclass(frozen=True, kw_only=True)
class SupernetConfig(Config):
    space: str = option("hybrid-224", "hybrid-224, hybrid-32 or a YAML file", group=WHAT)
    budget: str | None = option(None, "hard limit", group=WHAT)
    floor: float = option(0.9, "least share of the budget to use", group=WHAT, at_least=0, below=1)
    data: Any = option("digits", "data", group=WHAT, convert=lambda value: str(Path(value).resolve()) if Path(value).exists() else value)
    image_size: int | None = option(None, "side", group=WHAT, at_least=32)
    minutes: float | None = option(None, "end", group=HOW, at_least=0)
    steps: int = option(250, "steps of supernet training", group=HOW, at_least=1)
    batch_size: int = option(64, "images a step", group=HOW, at_least=2)
    lr: float = option(1e-3, "peak learning rate", group=HOW, at_least=0)
    paths: str = option("uniform", "what a step runs", group=HOW, choices=PATHS)
    scope: str = option("space", "train in the whole space or in the budget's band", group=HOW, choices=SCOPES)
    warm_start: tuple[str, ...] = option((), "begin with", group=HOW, nargs="*")
    seed: int = option(0, "of weights", group=HOW)
    out: Path = option(Derived(lambda c: Path("runs/x")), "the run's directory", group=WHERE, convert=lambda value: Path(value).resolve())
    latency_tables: Path | None = option(None, "where measured latencies are kept", group=WHERE)
    dry_run: bool = option(False, "say what would be done")

TrainingConfig = SupernetConfig
