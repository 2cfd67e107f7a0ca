"""The benchmark of latencies runs, and says what it is asked for."""

import random
from pathlib import Path

from experiments.benchmarks.latency import main
from proxies.macs import cost_of
from space.files import dump_space

from .test_latency_targets import SPACE


def test_the_benchmark_writes_its_results(tmp_path: Path) -> None:
    space, output = tmp_path / "space.yaml", tmp_path / "latency.md"
    space.write_text(dump_space(SPACE))
    budget = cost_of(SPACE.sample(random.Random(0))).macs
    brief = ["--num", "4", "--table-seconds", "0", "--seconds", "0"]
    main(["--space", str(space), "--budget", f"{budget}FLOPs", *brief, "--output", str(output)])
    rows = [line.split("|")[1].strip() for line in output.read_text().splitlines() if line.startswith("|")]
    assert rows[2:7] == ["table", "FLOPs alone", "measured again", "table, by the clock", "measured again, by the clock"]
    assert len(rows) == 14
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".yaml"] == ["latency.md"]
