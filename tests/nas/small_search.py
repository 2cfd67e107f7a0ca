"""A space, a budget and options so small that commands end in seconds, and what they leave."""

from __future__ import annotations

import csv
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

BUDGET = "3MFLOPs"
SPACE = """
schema: search-space/1
name: tiny
image_size: 32
stem: {type: conv_stem, stride: 4}
stages:
  - widths: [16, 32]
    depths: [1, 2]
    mixers: &mixers
      - {type: local_mhra, kernel_size: [3, 5]}
      - {type: channel_group, head_dim: 16}
      - {type: bn_conv_attention, key_dim: 8}
    ffns: &ffns [{type: [mlp, dw_ffn], ratio: [1, 2, 4]}]
  - widths: [32, 64]
    depths: [1, 2]
    downsample: conv_downsample
    mixers: *mixers
    ffns: *ffns
"""


def command(folder: Path, *more: str, trains: bool = True) -> list[str]:
    """A small search without successive halving, in one worker; later options win over earlier ones.

    Args:
        trains: whether it trains a supernet; a search that trains none takes none of the options of that.
    """
    fixed = ["--budget", BUDGET, "--floor", "0.5", "--trials", "5", "--keep", "2", "--halving-candidates", "0", "--workers", "1"]
    training = ["--steps", "3", "--batch-size", "8"] if trains else []
    where = ["--space", str(folder / "tiny.yaml"), "--data", str(folder / "images"), "--out", str(folder / "run")]
    return [*fixed, *training, *where, *more]


def trials_of(folder: Path) -> list[optuna.trial.FrozenTrial]:
    return study_of(folder / "run").trials


def study_of(run: Path) -> optuna.Study:
    """The study in a search's directory, as Optuna itself opens it."""
    return optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(run / "study.journal"))))


def rows_of(trials: Path) -> list[dict[str, str]]:
    """What a search's `trials.csv` tells but for its trials' numbers, among which are failed ones, and how long they took."""
    with trials.open(newline="") as file:
        return [{key: value for key, value in row.items() if key not in ("trial", "seconds")} for row in csv.DictReader(file)]
