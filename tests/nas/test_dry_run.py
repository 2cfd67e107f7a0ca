"""Every command says with `--dry-run` what it would do and what that costs, and writes nothing."""

from __future__ import annotations

import gc
import io
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console

from nas.cli import workload
from nas.cli.command import exit_code_of
from nas.cli.plan import Phase, Plan, print_plan
from nas.cli.workload import workload_of
from nas.train.plan import shared_params
from proxies.macs import cost_of
from space import build_network, load_architecture, load_space
from supernet.sharing import shared_tensors
from tests.commands import COMMANDS, exit_code
from tests.nas.small_official import SMALL, small_weights
from tests.nas.small_search import BUDGET

ARGUMENTS = {
    "audit": "--run run --architectures 4 --steps 2 --short 1",
    "compare": "run --test-data images/val --epochs 1",
    "convert": "--parent davit.yaml --weights official.pth --output converted",
    "draw": "run/best.yaml",
    "export": "run/best.yaml --weights run/best.safetensors --format timm",
    "join": "run",
    "latency": "kit --space tiny.yaml --networks 4 --out kit",
    "profile": "run/best.yaml --parents",
    "report": "run --ablation",
    "retrain": "run/best.yaml --data images --epochs 1 --batch-size 8",
    "score": "run/best.yaml --data images --batch-size 8",
    "search": f"--space tiny.yaml --budget {BUDGET} --floor 0.5 --data images --out another",
    "train": "--space tiny.yaml --data images --out another",
}


@pytest.fixture(scope="module")
def place(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything lies that `ARGUMENTS` names."""
    place = shutil.copytree(finished, tmp_path_factory.mktemp("dry") / "place")
    (place / "davit.yaml").write_text(SMALL)
    torch.save(small_weights(), place / "official.pth")
    return place


@pytest.mark.parametrize("command", COMMANDS)
def test_a_dry_run_tells_time_memory_and_disk_and_writes_nothing(
    command: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    before = {file: file.stat().st_mtime_ns for file in place.rglob("*")}
    assert exit_code(command, [*ARGUMENTS[command].split(), "--dry-run"]) == 0
    assert {file: file.stat().st_mtime_ns for file in place.rglob("*")} == before
    out = capsys.readouterr().out
    assert re.search(r"^expected in all: \d.*, within a factor of three", out, re.MULTILINE)
    assert re.search(r"^expected memory: \d+\.\d GiB", out, re.MULTILINE)
    assert re.search(r"^expected on disk: (nothing|[\d.]+(e\+\d+)? [kMG]B)", out, re.MULTILINE)
    assert out.endswith("nothing was written\n")


@pytest.mark.parametrize(("load", "said"), [(0.1, ""), (2.0, "2.0 programs compute on its 2 cores now, beside which it takes about 20 s")])
def test_a_plan_notices_load(load: float, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    console = Console(file=io.StringIO(), width=200)
    print_plan(console, Plan((Phase("training", "steps", 10.0),), {}))
    out = console.file.getvalue()
    assert "expected in all: 10 s, within a factor of three" in out
    assert said in out if said else "idle" not in out


def test_a_supernet_is_as_large_as_foretold() -> None:
    space = load_space("hybrid-32")
    with torch.device("meta"):
        actual = sum(tensor.numel() for tensor in shared_tensors(space).values())
    assert shared_params(space) == pytest.approx(actual, rel=1e-2)


def test_work_is_counted_as_everywhere_else() -> None:
    architectures = [load_architecture(name) for name in ("topformer-t", "uniformer-s")]
    work = workload_of(architectures, 64)
    costs = [cost_of(architecture, 64) for architecture in architectures]
    assert work.macs == (costs[0].macs + costs[1].macs) / 2
    weights = sum(parameter.nbytes for parameter in build_network(architectures[1]).parameters())
    assert work.params == max(cost.params for cost in costs)
    assert work.weights_bytes == weights
    assert work.training_bytes(1) > work.passing_bytes(1) > weights


@pytest.mark.parametrize("measured", [2e9, None])
def test_seconds_come_from_measured_steps_if_these_are_short(measured: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(workload, "_SPEEDS", {})
    monkeypatch.setattr(workload, "macs_per_second", lambda: 3e9)
    monkeypatch.setattr(workload, "_measured_speed", lambda *how: asked.append(how[2:]) or measured)
    work = workload_of([load_architecture("topformer-t")], 64)
    assert work.training_seconds(10, 8) == pytest.approx(80 * work.macs / (measured or 1e9))
    assert work.passing_seconds(10) == pytest.approx(10 * work.macs / (measured or 3e9))
    work.training_seconds(5, 8)
    # Both were asked for once, with as many images as a second allows.
    assert asked == [(8, True), (min(64, int(1e9 / work.macs)), False)]


def test_a_few_steps_are_measured_and_leave_no_trace() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    architecture = load_architecture("topformer-t")
    for trains in (True, False):
        assert workload._measured_speed(architecture, 64, 2, trains) > 0
    assert workload._measured_speed(architecture, 64, 1, True) is None
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("is_short", [True, False])
def test_cycles_are_collected_but_in_a_short_command(is_short: bool) -> None:
    found = []
    assert exit_code_of(lambda: found.append(gc.isenabled()), is_short=is_short) == 0
    assert found == [not is_short]
    assert gc.isenabled()
