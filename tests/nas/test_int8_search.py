"""A whole search under the latency of INT8 graphs, from its budget to the export of its winner."""

import random
import shlex
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from nas.export import __main__ as export
from nas.export import int8
from nas.latency import tables
from nas.runs.records.halving import read_halving
from nas.search import __main__ as search
from proxies.cost import latency_on
from proxies.latency import LatencyTable, open_table, table
from proxies.macs import cost_of
from proxies.target import parse_target
from space.files import dump_space, load_architecture, load_provenance
from tests.nas.small_search import command, trials_of
from tests.proxies.test_latency_targets import BRIEF, SPACE

TARGET = parse_target("ort-int8:1t:bs1")
QUANTITY = latency_on(TARGET)
OF_PICTURES = SPACE.replace(num_classes=3)
"""The space for the pictures' classes."""


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LatencyTable:
    """The space's table, briefly measured, in `tables`, where a search finds it."""
    monkeypatch.setitem(table.NUM_NETWORKS, "ort-int8", 6)
    monkeypatch.setattr(tables, "open_table", partial(open_table, effort=BRIEF))
    return open_table(OF_PICTURES, TARGET, tmp_path / "tables", effort=BRIEF)


def limit_of(found: LatencyTable, share: float) -> float:
    """The milliseconds that a share of the space's architectures keep by the table, with its margin."""
    rng = random.Random(0)
    return float(np.quantile([found.predict(OF_PICTURES.sample(rng)) for _ in range(50)], share)) * found.margin() / 1e6


@pytest.mark.soak
def test_winners_hold_the_limit_are_judged_in_int8_and_are_exported(
    folder: Path, measured: LatencyTable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    (folder / "space.yaml").write_text(dump_space(SPACE))
    limit = limit_of(measured, 0.7)
    budget = f"{cost_of(SPACE.largest()).macs}FLOPs {limit:.6f}ms@ort-int8:1t:bs1"
    options = ("--space", str(folder / "space.yaml"), "--budget", budget, "--floor", "0.01", "--latency-tables", str(folder / "tables"))
    finals = ("--halving-candidates", "2", "--halving-steps", "2", "--max-int8-drop", "99")
    assert search.main(command(folder, *options, *finals)) == 0

    run, said = folder / "run", capsys.readouterr().out
    assert measured.predict(OF_PICTURES.largest()) > measured.limit_for(round(limit * 1e6))
    for trial in trials_of(folder):
        assert 0 < trial.user_attrs[QUANTITY] <= measured.limit_for(round(limit * 1e6))
    for name in ("best", "next-2"):
        provenance = load_provenance(run / f"{name}.yaml")
        predicted = measured.predict(load_architecture(run / f"{name}.yaml")) / 1e6
        assert provenance["predicted_ms"][str(TARGET)] == pytest.approx(predicted)
        assert predicted <= limit
        assert provenance["measured_ms"][str(TARGET)] <= limit
        assert "int8_drop" in provenance
    finals = read_halving(run)
    assert finals is not None
    assert all(one.int8_values is not None for one in finals.candidates if one.competes)
    assert "INT8: accuracy in % in floating point / in INT8" in said

    monkeypatch.setattr(int8, "TRIAL_ROUNDS", 1)
    (proposed,) = (line.split("nas.export ")[1] for line in said.splitlines() if "nas.export " in line)
    assert export.main([*shlex.split(proposed), "--output", str(folder / "out")]) == 0
    assert (folder / "out" / int8.FILE).exists()
