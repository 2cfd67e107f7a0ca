"""A run's own latency tables: all processes of its search predict by them, and none measures others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from nas import join
from nas.cli.screen import Screen
from nas.execution.loop import Deadline
from nas.latency.tables import LATENCY_FOLDER, keep_tables, limited, tables_of_run, within_latencies
from nas.runs.directory import open_run
from nas.search.config import search_config_of
from nas.search.evaluation import evaluate_proposals, evaluator_of, open_search
from nas.search.measured import MeasuredResult, measure_best
from nas.train.supernet_run import open_supernet_run
from proxies.band.architecture_band import ArchitectureBand
from proxies.band.space_cost import SpaceParts
from proxies.cost import BudgetError, parse_budget, without_latency
from proxies.latency import BackendError, LatencyError, LatencyTable, Measured, table_path, write_table
from proxies.published import parents_within
from space.architecture import Architecture
from space.files import load_space
from space.search_space import SearchSpace
from tests.nas.conftest import Mistaken
from tests.proxies.test_latency import SPACE, TARGET, record

BUDGET = parse_budget("100MFLOPs 5ms@cpu", 0.0)
BAND = ArchitectureBand(SPACE, without_latency(BUDGET))
ELSEWHERE = {"device": "another processor", "torch": "9.9"}


def table(space: SearchSpace = SPACE, noise: float = 0.05) -> LatencyTable:
    """A table of made-up measurements."""
    return LatencyTable(space, TARGET, SpaceParts(space), record(noise=noise, space=space))


def measured_elsewhere(run: Path) -> None:
    """Make a run's table that of another machine."""
    (file,) = (run / LATENCY_FOLDER).iterdir()
    document = json.loads(file.read_text())
    file.write_text(json.dumps(document | {"fingerprint": document["fingerprint"] | ELSEWHERE}))


def test_a_run_keeps_its_tables_and_every_machine_predicts_alike(tmp_path: Path) -> None:
    kept = table()
    keep_tables(tmp_path, {kept.quantity: kept})
    measured_elsewhere(tmp_path)
    found = tables_of_run(tmp_path, SPACE, BUDGET)
    for term, other in zip(kept.cost, found[kept.quantity].cost, strict=True):
        assert all(np.array_equal(costs, other.costs[key]) for key, costs in term.costs.items())
    assert found[kept.quantity].limit_for(10**9) == kept.limit_for(10**9)
    assert limited(BAND, BUDGET, found).count_bounds == limited(BAND, BUDGET, {kept.quantity: kept}).count_bounds


def test_a_fitted_table_is_read_and_not_fitted_again(tmp_path: Path) -> None:
    """Another machine's last digits differ: here they are made to."""
    kept = table()
    keep_tables(tmp_path, {kept.quantity: kept})
    file = tmp_path / LATENCY_FOLDER / "cpu-1t-bs1-fp32.json"
    document = json.loads(file.read_text())
    document["fitted"]["constant"] += 1000.0
    document["fitted"]["margin"] = 2.0
    file.write_text(json.dumps(document))
    (found,) = tables_of_run(tmp_path, SPACE, BUDGET).values()
    assert found.predict(SPACE.smallest()) == kept.predict(SPACE.smallest()) + 1000
    assert found.limit_for(10**9) == 5 * 10**8


def test_a_run_without_tables_says_so(tmp_path: Path) -> None:
    assert tables_of_run(tmp_path, SPACE, parse_budget("1GFLOPs")) == {}
    with pytest.raises(LatencyError, match=r"got no latency/cpu-1t-bs1-fp32.json, expected the latencies that its search measures"):
        tables_of_run(tmp_path, SPACE, BUDGET)
    kept = table()
    keep_tables(tmp_path, {kept.quantity: kept})
    with pytest.raises(LatencyError, match=r"cpu-1t-bs1-fp32.json: space: measured on 'tiny .*', expected 'tiny "):
        tables_of_run(tmp_path, SPACE.replace(num_classes=3), BUDGET)


def test_a_search_resumes_with_its_tables(tmp_path: Path) -> None:
    """Also where the user's cache holds others by now."""
    cache, run, console = tmp_path / "cache", tmp_path / "run", Console(quiet=True)
    cache.mkdir()
    first, later = table(), table(noise=0.2)
    write_table(first, table_path(SPACE, TARGET, cache))
    with open_run(run, {}):
        _, tables = within_latencies(console, BAND, BUDGET, cache, 0, run)
    write_table(later, table_path(SPACE, TARGET, cache))
    with open_run(run, {}):
        band, again = within_latencies(console, BAND, BUDGET, cache, 0, run)
    (one,), (other,) = tables.values(), again.values()
    assert one.record == other.record == first.record != later.record
    assert band.count_bounds == limited(BAND, BUDGET, tables).count_bounds
    measured_elsewhere(run)
    with open_run(run, {}), pytest.raises(LatencyError, match=r"device: measured on 'another processor', expected .*; a table"):
        within_latencies(console, BAND, BUDGET, cache, 0, run)


def search_on_another_machine(finished: Path, folder: Path) -> Path:
    """The directory of a search within milliseconds that has evaluated one of two architectures, on a machine unlike this one."""
    run = shutil.copytree(finished / "run", folder / "run")
    (run / "study.journal").unlink()
    supernet_run, document = open_supernet_run(run), json.loads((run / "config.json").read_text())
    document["config"] |= {"budget": "3MFLOPs 50ms@cpu", "trials": 1}
    (run / "config.json").write_text(json.dumps(document))
    config = search_config_of(run)
    budget = parse_budget(config.budget, config.floor)
    made_up = table(supernet_run.space)
    keep_tables(run, {made_up.quantity: made_up})
    measured_elsewhere(run)
    band = limited(ArchitectureBand(supernet_run.space, without_latency(budget)), budget, {made_up.quantity: made_up})
    study = open_search(config, supernet_run, band, budget, parents_within(supernet_run.space, budget))
    with Screen(Console(quiet=True), ("search",)) as screen:
        evaluate_proposals(config, study, evaluator_of(config, supernet_run, None), Deadline(), screen, [])
    document["config"] |= {"trials": 3}
    (run / "config.json").write_text(json.dumps(document))
    return run


def test_joining_processes_predict_by_the_searchs_table(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mistaken: Mistaken
) -> None:
    run = search_on_another_machine(finished, tmp_path)
    # A process that measured would write a table here.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert join.main([str(run), "--workers", "1"]) == 0
    assert "2 architectures evaluated meanwhile, 3 in all" in capsys.readouterr().out
    assert not (tmp_path / "cache").exists()
    shutil.rmtree(run / LATENCY_FOLDER)
    document = json.loads((run / "config.json").read_text())
    document["config"]["trials"] = 5
    (run / "config.json").write_text(json.dumps(document))
    assert f"{run}: got no latency/cpu-1t-bs1-fp32.json, expected the latencies" in mistaken(join.main, [str(run)])


class OtherwiseFine:
    """A table on a device that cannot run some architectures, and takes 1 ms for any other."""

    target = TARGET

    def __init__(self, *failing: Architecture) -> None:
        self.failing = failing

    def measure(self, architectures: Sequence[Architecture]) -> list[Measured | BackendError]:
        return [BackendError("cpu: cannot run it") if one in self.failing else Measured.of([10**6]) for one in architectures]


def test_what_a_device_cannot_run_is_left_out_of_the_best() -> None:
    budget = parse_budget("3MFLOPs 2ms@cpu")
    (quantity,) = budget.targets
    space = load_space("hybrid-32")
    ranked: list[Any] = [SimpleNamespace(architecture=one) for one in (space.smallest(), space.largest())]

    def measured(*failing: Architecture) -> tuple[list[MeasuredResult], list[MeasuredResult]]:
        tables: Any = {quantity: OtherwiseFine(*failing)}
        return measure_best(ranked, budget, tables, 2, lambda: None)

    (kept,), (left_out,) = measured(ranked[0].architecture)
    assert kept.result is ranked[1]
    assert left_out.result is ranked[0]
    assert left_out.why_left_out == "cpu: cannot run it"
    with pytest.raises(BudgetError, match="budget: got cpu: cannot run it; expected one of the 2 best to run there"):
        measured(*(one.architecture for one in ranked))
