"""The whole way, small: budget, supernet, search, YAML; with real images, a real study, real Ray."""

from __future__ import annotations

import csv
import json
import multiprocessing.process
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import optuna
import psutil
import pytest
import torch
import yaml
from optuna.storages.journal import JournalFileOpenLock
from safetensors.torch import load_file

from nas.export import __main__ as export
from nas.runs.process_id import this_process_id
from nas.runs.records.halving import read_halving
from nas.samplers.by_name import sampler_names
from nas.search import __main__ as search
from nas.search.config import SAMPLERS
from proxies.cost import parse_budget
from proxies.latency import table
from proxies.latency.measure import Effort
from proxies.macs import cost_of
from space import build_network, load_architecture, load_provenance
from tests.commands import exit_code
from tests.killing import run_whole, running
from tests.nas.conftest import Mistaken, filled
from tests.nas.small_search import BUDGET, SPACE, command, rows_of, study_of, trials_of
from tests.pictures import write_pictures


@pytest.fixture
def searched(folder: Path) -> Path:
    assert search.main(command(folder)) == 0
    return folder


def test_a_search_leaves_a_study_architectures_weights_and_a_table(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, trials = searched / "run", trials_of(searched)
    assert len(trials) == 5
    assert len({trial.user_attrs["fingerprint"] for trial in trials}) == 5
    budget = parse_budget(BUDGET, floor=0.5)
    for trial in trials:
        assert {"stage1.width", "stage2.depth", "stage1.ffn", "stage1.block1.mixer", "stage1.block1.position"} <= trial.params.keys()
        assert ("stage2.block2.mixer" in trial.params) == (trial.params["stage2.depth"] == 2)
        assert budget.least <= trial.user_attrs["macs"] <= budget.limits["macs"]
        assert trial.user_attrs["over_budget"] <= 0
    best = load_architecture(run / "best.yaml")
    provenance = load_provenance(run / "best.yaml")
    assert best.num_classes == 3
    assert best.fingerprint == provenance["fingerprint"] == trials[provenance["trial"]].user_attrs["fingerprint"]
    assert cost_of(best).macs == provenance["macs"]
    assert provenance["log_likelihood"] == max(trial.value for trial in trials)
    assert load_architecture(run / "next-2.yaml").fingerprint != best.fingerprint
    with (run / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == list(range(5))
    assert json.loads((run / "config.json").read_text())["config"]["budget"] == BUDGET
    network = build_network(best)
    network.load_state_dict(load_file(run / "best.safetensors"))
    assert torch.isfinite(network.eval()(torch.randn(2, 3, 32, 32))).all()


def test_a_search_never_reads_the_test_part(folder: Path) -> None:
    (folder / "images" / "val" / "ant").mkdir(parents=True)
    (folder / "images" / "val" / "ant" / "broken.png").write_bytes(b"no picture")
    assert search.main(command(folder)) == 0


def test_a_few_corrupt_images_are_passed_over_in_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in ("ant/7.png", "cow/2.png"):
        (folder / "images" / "train" / file).write_bytes(b"no picture")
    assert search.main(command(folder, "--steps", "12")) == 0
    printed = [line for line in capsys.readouterr().err.splitlines() if "cannot be read" in line]
    assert all(any(file in line for line in printed) for file in ("ant/7.png", "cow/2.png"))
    assert len(printed) <= 4
    scores = [trial.values for trial in trials_of(folder)]
    assert search.main(command(folder, "--steps", "12", "--out", str(folder / "again"))) == 0
    with (folder / "again" / "trials.csv").open() as file:
        assert [[float(row["log_likelihood"])] for row in csv.DictReader(file)] == scores


def test_what_a_search_proposes_next_are_commands_that_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my photos"
    folder.mkdir()
    assert search.main(command(filled(folder), "--trials", "2")) == 0
    steps = capsys.readouterr().out.partition("\nNext:\n")[2]
    proposed = [shlex.split(line) for line in steps.splitlines() if " -m nas." in line]
    assert [words[2] for words in proposed] == ["nas.retrain", "nas.report", "nas.export"]
    # Each says before what it takes.
    costs = re.findall(r"^  \S.*?(\d minutes at most|minutes|a minute):$", steps, re.MULTILINE)
    assert costs == ["8 minutes at most", "minutes", "a minute"]
    for _, _, module, *arguments in proposed:
        assert exit_code(module.removeprefix("nas."), [*arguments, "--dry-run"]) == 0


def test_the_same_command_continues(searched: Path) -> None:
    weights = (searched / "run" / "supernet.safetensors").stat().st_mtime_ns
    before = [trial.params for trial in trials_of(searched)]
    assert search.main(command(searched, "--trials", "8")) == 0
    after = trials_of(searched)
    assert [trial.params for trial in after[:5]] == before
    assert len(after) == 8
    assert len({trial.user_attrs["fingerprint"] for trial in after}) == 8
    assert (searched / "run" / "supernet.safetensors").stat().st_mtime_ns == weights


def test_an_interrupted_search_ends_like_an_uninterrupted_one(folder: Path) -> None:
    assert search.main(command(folder, "--trials", "3")) == 0
    assert search.main(command(folder, "--trials", "6")) == 0
    whole = folder / "whole"
    assert search.main(command(folder, "--trials", "6", "--out", str(whole))) == 0
    assert load_architecture(folder / "run" / "best.yaml").fingerprint == load_architecture(whole / "best.yaml").fingerprint
    with (folder / "run" / "trials.csv").open() as a, (whole / "trials.csv").open() as b:
        for x, y in zip(csv.DictReader(a), csv.DictReader(b), strict=True):
            assert {k: v for k, v in x.items() if k != "seconds"} == {k: v for k, v in y.items() if k != "seconds"}


def test_a_race_stops_who_has_lost(folder: Path) -> None:
    write_pictures(folder / "more", count=150)
    racing = ["--race", "--keep", "1", "--data", str(folder / "more"), "--trials", "12", "--steps", "10"]
    assert search.main(command(folder, *racing)) == 0
    trials = trials_of(folder)
    best = max(trials, key=lambda trial: trial.value)
    assert best.user_attrs["score"]["num_images"] == max(trial.user_attrs["score"]["num_images"] for trial in trials) == 90
    assert min(trial.user_attrs["score"]["num_images"] for trial in trials) < 90
    assert load_provenance(folder / "run" / "best.yaml")["trial"] == best.number


def test_a_trial_that_a_dead_process_left_running_is_settled_and_evaluated(searched: Path) -> None:
    study = study_of(searched / "run")
    victim = study.trials[2]
    process = subprocess.Popen(["true"])
    process.wait()
    dead = asdict(replace(this_process_id(), pid=process.pid))
    begun = {key: value for key, value in victim.user_attrs.items() if key not in ("score", "seconds")}
    left = optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        params=victim.params,
        distributions=victim.distributions,
        user_attrs=begun | {"proposal_index": 5, "process": dead},
    )
    study.add_trial(left)
    assert search.main(command(searched, "--trials", "7")) == 0
    trials = trials_of(searched)
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 5 + ["FAIL"] + ["COMPLETE"] * 2
    assert trials[5].user_attrs["failure"] == "interrupted"
    assert trials[6].params == victim.params
    assert trials[6].user_attrs["proposal_index"] == 5


@pytest.mark.parametrize("several", [(3, "local"), pytest.param((2, "ray"), marks=pytest.mark.soak)])
def test_one_worker_and_several_find_the_same_and_choose_the_same_winner(folder: Path, several: tuple[int, str]) -> None:
    found = []
    on_interrupt = signal.getsignal(signal.SIGINT)
    for workers, backend in ((1, "local"), several):
        out = folder / f"{backend}-{workers}"
        more = ["--out", str(out), "--backend", backend, "--workers", str(workers), "--trials", "12"]
        assert search.main(command(folder, *more, "--halving-candidates", "3", "--halving-steps", "3")) == 0
        found.append((rows_of(out / "trials.csv"), load_architecture(out / "best.yaml").fingerprint, read_halving(out)))
        assert signal.getsignal(signal.SIGINT) is on_interrupt
    assert found[0] == found[1]


def test_a_worker_that_is_killed_has_its_trial_evaluated_again(folder: Path) -> None:
    argv = command(folder, "--workers", "2", "--trials", "16")
    with running(search.main, argv) as (process, output):
        # The first has had its trial since before the second was started, and has to build the supernet before it evaluates.
        min(both_workers_of(process, output), key=psutil.Process.create_time).kill()
        process.join(120)
        assert process.exitcode == 0, output.read_text()
        assert "its process was killed" in output.read_text()
    trials = trials_of(folder)
    states = [trial.state.name for trial in trials]
    assert states.count("COMPLETE") == 16
    assert states.count("FAIL") <= 1
    assert len({trial.user_attrs["fingerprint"] for trial in trials}) == 16


def hearing(argv: Sequence[str]) -> int:
    """A search that Ctrl-C reaches, as it does in a terminal."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return search.main(argv)


@pytest.mark.parametrize("moment", ["supernet training: ", "search: "])
def test_a_search_that_is_asked_to_end_loses_nothing(folder: Path, moment: str) -> None:
    argv = command(folder, "--workers", "1", "--steps", "20", "--trials", "12")
    with running(hearing, argv) as (process, output):
        assert process.pid is not None
        while moment not in output.read_text():
            assert process.is_alive(), output.read_text()
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGTERM)
        process.join(60)
        assert process.exitcode == 130
        assert "stopped; everything finished so far is kept" in output.read_text()
    run_whole(search.main, argv)
    trials = trials_of(folder)
    assert [trial.state.name for trial in trials].count("COMPLETE") == 12
    assert not any(trial.state is optuna.trial.TrialState.RUNNING for trial in trials)


def test_workers_end_with_a_search_that_is_killed(folder: Path) -> None:
    with running(search.main, command(folder, "--workers", "2", "--trials", "500")) as (process, output):
        workers = both_workers_of(process, output)
    gone, alive = psutil.wait_procs(workers, timeout=30)
    assert len(gone) == 2
    assert not alive


def both_workers_of(search_: multiprocessing.process.BaseProcess, output: Path) -> list[psutil.Process]:
    """The two processes in which a search evaluates, children of a server of its own, once both have been started.

    While the server imports torch it has another child for a moment, a program that lists libraries; never two of them.
    """
    while True:
        assert search_.is_alive(), output.read_text()
        with suppress(psutil.NoSuchProcess):
            for server in psutil.Process(search_.pid).children():
                if len(workers := server.children()) == 2:
                    return workers
        time.sleep(0.01)


def test_parents_in_the_band_are_evaluated_first_and_stand_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    plus = load_architecture("uniformer-s-plus")
    stages = [
        {"widths": [stage.width], "depths": [len(stage.blocks)], "positions": ["dpe"], "ffns": [{"type": "mlp", "ratio": [2, 4]}],
         "mixers": [stage.blocks[0].mixer.to_yaml(), "channel_group"], "downsample": stage.downsample and stage.downsample.to_yaml()}
        for stage in plus.stages
    ]  # fmt: skip
    space = {"schema": "search-space/1", "name": "around-uniformer", "stem": "conv_stem", "stages": stages, "head": "norm_pool_head"}
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space))
    write_pictures(tmp_path / "images", count=10)
    options = ["--space", str(tmp_path / "space.yaml"), "--budget", "4.3GFLOPs", "--floor", "0.8", "--data", str(tmp_path / "images")]
    options += ["--steps", "1", "--batch-size", "2", "--trials", "2", "--halving-candidates", "0", "--out", str(tmp_path / "run")]
    assert search.main(options) == 0
    first, second = trials_of(tmp_path)
    assert first.user_attrs["proposed_by"] == "uniformer-s-plus"
    assert first.user_attrs["macs"] == cost_of(plus.replace(num_classes=3)).macs
    assert second.user_attrs["proposed_by"] == "random"
    scores, published = capsys.readouterr().out.split("Published networks within the budget: top-1 accuracy on ImageNet")
    (scored,) = (line for line in scores.splitlines() if line.startswith("uniformer-s-plus "))
    assert "[" in scored
    assert "83.4" not in scores
    rows = {line.split()[0]: line for line in published.splitlines() if line.strip()}
    assert rows["uniformer-s-plus"].endswith("83.4")
    assert rows["uniformer-s"].endswith("82.9")
    assert "\nuniformer-s " not in scores
    assert "davit-t" not in rows, "4.5 GFLOPs are over the budget"


def test_several_objectives_give_a_front_and_every_point_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search.main(command(folder, "--objectives", "accuracy", "macs", "--trials", "12")) == 0
    points = {(trial.values[0], -trial.values[1]): trial.number for trial in trials_of(folder)}
    assert {trial.user_attrs["macs"] / 1e9 for trial in trials_of(folder)} == {-macs for _, macs in points}
    front = {number for own, number in points.items() if not any(a >= own[0] and b >= own[1] for a, b in points if (a, b) != own)}
    written = {file.name: load_provenance(file)["trial"] for file in (folder / "run").glob("*.yaml")}
    assert set(written.values()) == front
    assert written["best.yaml"] == max(points.items())[1]
    assert all(name == "best.yaml" or name.startswith("front-") for name in written)
    assert "front 2" in capsys.readouterr().out or len(front) == 1


def test_a_winner_keeps_its_latency_budget_measured(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another test holds how well latencies are predicted.
    monkeypatch.setattr(Effort, "rounds", lambda *_: 3)
    monkeypatch.setitem(table.NUM_NETWORKS, "eager", 5)
    tables = ["--latency-tables", str(folder / "tables")]
    assert search.main(command(folder, "--budget", "3MFLOPs 200ms@cpu:1t:bs1", *tables)) == 0
    (target,) = parse_budget("200ms@cpu").targets.values()
    for trial in trials_of(folder):
        assert 0 < trial.user_attrs[f"latency@{target}"] <= 200_000_000
    provenance = load_provenance(folder / "run" / "best.yaml")
    assert 0 < provenance["measured_ms"][str(target)] <= 200
    assert provenance["measured_spread"][str(target)] >= 0
    assert provenance["predicted_ms"][str(target)] == trials_of(folder)[provenance["trial"]].user_attrs[f"latency@{target}"] / 1e6
    assert "ms: measured on cpu:1t:bs1:fp32" in capsys.readouterr().out
    before = [file.stat().st_mtime_ns for file in (folder / "tables").iterdir()]
    assert search.main(command(folder, "--budget", "3MFLOPs 200ms@cpu:1t:bs1", *tables, "--trials", "6")) == 0
    assert [file.stat().st_mtime_ns for file in (folder / "tables").iterdir()] == before


def test_a_dry_run_says_what_would_happen_and_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.rglob("*"))
    assert search.main(command(folder, "--dry-run", "--paths", "fair", "--budget", "3MFLOPs 200ms@cpu")) == 0
    assert sorted(folder.rglob("*")) == before
    out = capsys.readouterr().out
    files = ("best.yaml", "next-2.yaml")
    for expected in ("architectures lie inside", "latency", "training", "3 paths", "search", "expected in all", "memory", *files):
        assert expected in out


def test_any_trial_can_be_exported(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = searched / "third.yaml"
    assert export.main(["--study", str(searched / "run"), "--trial", "3", "--output", str(output)]) == 0
    assert load_architecture(output).fingerprint == trials_of(searched)[3].user_attrs["fingerprint"]
    by_url = ["--study", f"journal:{searched}/run/study.journal", "--trial", "3", "--output", str(searched / "again.yaml")]
    assert export.main(by_url) == 0
    assert load_architecture(searched / "again.yaml").fingerprint == load_architecture(output).fingerprint
    capsys.readouterr()
    assert export.main([*by_url[:2], "--trial", "99", *by_url[4:]]) == 2
    assert capsys.readouterr().err == "error: trial: got 99, expected 0 to 4\n"


def set_space(folder: Path, text: str) -> None:
    (folder / "tiny.yaml").write_text(SPACE.replace("name: tiny", text))


MISTAKES: dict[str, tuple[Callable[[Path], object], list[str], str]] = {
    "budget out of reach": (lambda f: None, ["--budget", "1GFLOPs"], "budget: got 1GFLOPs"),
    "unknown unit": (lambda f: None, ["--budget", "3Mflopz"], "expected an amount such as"),
    "latency without a device": (lambda f: None, ["--budget", "12ms"], "a latency without a device"),
    "latency to minimise on no device": (lambda f: None, ["--objectives", "accuracy", "latency"], "expected a budget with one"),
    "objectives without accuracy": (lambda f: None, ["--objectives", "macs"], "expected accuracy"),
    "unknown key": (lambda f: set_space(f, "name: tiny\nimage_sise: 3"), [], "tiny.yaml: unknown key 'image_sise'"),
    "no such space": (lambda f: None, ["--space", "hybrid-225"], "expected one of hybrid-224, hybrid-32"),
    "no such data": (lambda f: None, ["--data", "nowhere/at/all"], "nowhere/at/all"),
    "corrupt images": (lambda f: [(f / f"images/train/bee/{i}.png").write_bytes(b"?") for i in range(9)], [], "images of 60 that cannot"),
    "foreign directory": (lambda f: (f / "run").mkdir() or (f / "run/thesis.tex").touch(), [], "not empty and not a run's directory"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_line_and_exit_code_2(folder: Path, mistake: str, mistaken: Mistaken) -> None:
    prepare, more, expected = MISTAKES[mistake]
    prepare(folder)
    error = mistaken(search.main, command(folder, *more))
    assert expected in error
    assert error.startswith("error: ")


def test_another_configuration_in_the_same_directory_is_refused(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = trials_of(searched)
    assert search.main(command(searched, "--seed", "1")) == 2
    assert "seed 0, got 1" in capsys.readouterr().err
    assert len(trials_of(searched)) == len(before)


def test_the_command_line_offers_every_sampler() -> None:
    assert set(SAMPLERS) == set(sampler_names())


BAD_OPTIONS = (
    ["--trials", "none"], ["--floor", "1.5"], ["--image-size", "8"], ["--workers", "5"], ["--sampler", "magic"],
    ["--storage", "mysql://host/db"], ["--workers", "2", "--race"], ["--race", "--subtract-bias"],
)  # fmt: skip


@pytest.mark.parametrize("bad", BAD_OPTIONS, ids=" ".join)
def test_a_bad_option_ends_in_one_line_and_exit_code_2(folder: Path, bad: list[str], mistaken: Mistaken) -> None:
    assert bad[0] in mistaken(search.main, command(folder, *bad))


OF_TRAINING = (
    ["--steps", "250"], ["--batch-size", "64"], ["--lr", "0.001"], ["--paths", "uniform"], ["--scope", "space"],
    ["--warm-start", "davit-t=weights.safetensors"],
)  # fmt: skip
"""Options of a supernet's training, but for the last one as they are by default."""
IDLE_OPTIONS = (
    *((options, ["--evaluator", "standalone"]) for options in (*OF_TRAINING, ["--race"], ["--subtract-bias"], ["--supernet", "run"])),
    *((options, ["--supernet", "run"]) for options in (*OF_TRAINING, ["--space", "hybrid-224"], ["--image-size", "32"])),
    (["--standalone-steps", "100"], []), (["--halving-steps", "100"], ["--halving-candidates", "0"]),
    (["--gpus-per-worker", "1"], []), (["--ray-address", "localhost:6379"], []),
)  # fmt: skip


@pytest.mark.parametrize(("idle", "beside"), IDLE_OPTIONS, ids=" ".join)
def test_what_would_do_nothing_is_refused_even_as_it_is_by_default(idle: list[str], beside: list[str], mistaken: Mistaken) -> None:
    assert mistaken(search.main, ["--budget", BUDGET, *beside, *idle]).startswith(f"error: {idle[0]}: ")


def test_the_time_limit_ends_a_search_with_what_it_has(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search.main(command(folder, "--minutes", "0.0001", "--steps", "1000", "--trials", "1000")) == 0
    out = capsys.readouterr().out
    assert "steps of 1000, the time was over" in out
    assert "run the same command again with more --minutes" in out
    assert not trials_of(folder)


def test_the_dashboard_opens_the_study(searched: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dashboard = [str(Path(sys.executable).parent / "optuna-dashboard"), f"{searched}/run/study.journal", "--port", str(port)]
    with subprocess.Popen(dashboard, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            studies = json.loads(fetch(f"http://127.0.0.1:{port}/api/studies"))["study_summaries"]
            trials = json.loads(fetch(f"http://127.0.0.1:{port}/api/studies/{studies[0]['study_id']}?after=0"))["trials"]
        finally:
            process.terminate()
    assert [trial["state"] for trial in trials] == ["Complete"] * 5
    assert "stage2.block1.mixer" in {parameter["name"] for parameter in trials[0]["params"]}


def test_optunas_own_lock_of_the_study_is_free(searched: Path) -> None:
    study = searched / "run" / "study.journal"
    lock = JournalFileOpenLock(str(study))
    # Of a lock that is held, Optuna's dashboard waits half a minute before it takes it away.
    assert not Path(lock._lock_file).exists()
    study_of(searched / "run").set_user_attr("note", "to be had at once")
    assert search.main(command(searched, "--trials", "6")) == 0
    assert study_of(searched / "run").user_attrs["note"] == "to be had at once"


def fetch(url: str) -> bytes:
    """Get a page of a server that is just starting."""
    for _ in range(120):
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return response.read()
        except urllib.error.URLError:
            time.sleep(0.5)
    raise TimeoutError(url)


def test_a_full_disk_ends_in_one_line_and_loses_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = folder / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(small)], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        assert search.main(command(folder, "--out", str(small / "run"))) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "No space left on device" in error
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        assert search.main(command(folder, "--out", str(small / "run"))) == 0
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
