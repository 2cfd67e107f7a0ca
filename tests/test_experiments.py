"""The scripts of long comparisons run to their end, on a few pictures and for a step or an epoch each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT
from tests.pictures import write_pictures

SMALL = f"""#!/bin/sh
case "$2" in
  nas.retrain) few="--epochs 1 --batch-size 8" ;;
  nas.search) few="--steps 2 --batch-size 8 --trials 4 --workers 1" ;;
  nas.compare) few="--epochs 1 --batch-size 8 --seeds 1 --random 1 --even-random 1 --workers 1" ;;
  *) few="--steps 1" ;;
esac
exec {sys.executable} "$@" $few
"""
"""A Python for the scripts: later options win over theirs."""


@pytest.mark.soak
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("script", "budget", "num_sets", "first", "networks"),
    [
        ("transfer", (), 2, "weights-0", {"found in weights-2", "from-scratch-1", "davit-mini"}),
        ("cifar10-12k", ("15MFLOPs",), 1, "seed-0", {"found in seed-2", "ffn fixed at"}),
    ],
)
def test_a_script_runs_to_its_end(
    script: str, budget: tuple[str, ...], num_sets: int, first: str, networks: set[str], tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(SMALL)
    python.chmod(0o755)
    sets = []
    for number in range(num_sets):
        for part, count in (("train", 20), ("test", 5)):
            sets.append(str(tmp_path / f"{part}-{number}"))
            write_pictures(Path(sets[-1]), count=count)
    out = tmp_path / "out"
    environment = os.environ | {"PYTHON": str(python), "PYTHONPATH": str(ROOT)}
    command = [f"experiments/{script}/run.sh", *budget, *sets, str(out)]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    table = (out / first / "comparison" / "comparison.md").read_text()
    for label in {"found", "only ssa", "random 1", "even random 1"} | networks:
        assert f"| {label}" in table
    if script == "transfer":
        assert "| shared weights |" in (out / "judges.md").read_text()
