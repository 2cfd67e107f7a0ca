"""`python -m nas.audit`: the sample that it draws, and what it trains."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from nas.audit import __main__ as audit
from nas.audit import audit as audit_call
from nas.audit.config import AuditConfig
from nas.audit.sample import BAND_FLOOR, LONG, OTHER_SEED, REACH, SampleTrainings, sample_of
from nas.audit.table import load_bench
from nas.evaluators import standalone
from nas.evaluators.bias_correction import shares_of
from nas.execution.loop import MAX_ATTEMPTS, JobError
from nas.search import __main__ as search
from nas.study.record import Result, StudyRecord
from nas.train import __main__ as train
from nas.train import train as train_call
from proxies.cost import BudgetError, parse_budget
from proxies.macs import cost_of
from space.architecture import Architecture
from space.errors import UserError
from space.files import dump_architecture, load_space, parse_space
from space.search_space import SearchSpace
from tests.nas.deadly_pictures import DeadlyPictures
from tests.nas.small_search import SPACE, study_of

TINY = parse_space(SPACE, "tiny")
BUDGET = parse_budget("3MFLOPs")


def test_half_of_a_sample_costs_the_same(tmp_path: Path) -> None:
    space, budget = load_space("hybrid-32"), parse_budget("15MFLOPs")
    members = sample_of(tmp_path / "sample", space, budget, 16, seed=3)
    assert len({member.architecture.fingerprint for member in members}) == 16
    assert Counter(member.part for member in members) == {"band": 8, "wide": 8}
    for member in members:
        cost = cost_of(member.architecture)
        assert (cost.macs, cost.params) == (member.macs, member.params)
        assert space.contains(member.architecture)
        limit = budget.limits["macs"]
        low, high = (BAND_FLOOR, 1) if member.part == "band" else (0, REACH)
        assert low * limit <= cost.macs <= high * limit
    wide = [member.macs for member in members if member.part == "wide"]
    assert max(wide) > 1.5 * min(wide)
    assert len({block.mixer.type for member in members for stage in member.architecture.stages for block in stage.blocks}) >= 6


def test_a_larger_sample_begins_with_the_smaller_one(tmp_path: Path) -> None:
    small = sample_of(tmp_path / "a", TINY, BUDGET, 4, seed=0)
    large = sample_of(tmp_path / "a", TINY, BUDGET, 7, seed=0)
    assert large[:4] == small == sample_of(tmp_path / "b", TINY, BUDGET, 4, seed=0)
    assert small != sample_of(tmp_path / "c", TINY, BUDGET, 4, seed=1)


FEW = """
schema: search-space/1
name: few
image_size: 32
stem: {type: conv_stem, stride: 4}
stages:
  - widths: [16]
    depths: [1]
    mixers: [{type: local_mhra, kernel_size: [3, 5, 7]}]
    ffns: [{type: mlp, ratio: 1}]
"""


UNDRAWABLE = [(TINY, "1Mparams", "multiply-adds"), (TINY, "1FLOPs", "nearest"), (parse_space(FEW, "few"), "0.23MFLOPs", "distinct")]


@pytest.mark.parametrize(("space", "budget", "printed"), UNDRAWABLE)
def test_a_sample_that_cannot_be_drawn_is_refused(tmp_path: Path, space: SearchSpace, budget: str, printed: str) -> None:
    with pytest.raises(BudgetError, match=printed):
        sample_of(tmp_path, space, parse_budget(budget), 20, seed=0)


@pytest.mark.parametrize("provenance", [{}, {"part": ["band"]}, {"part": "middle"}])
def test_a_file_that_is_of_no_sample_is_named(tmp_path: Path, provenance: dict[str, object]) -> None:
    (member,) = sample_of(tmp_path, TINY, BUDGET, 1, seed=0)
    file = tmp_path / "000.yaml"
    file.write_text(dump_architecture(member.architecture, provenance))
    with pytest.raises(UserError, match=r"000\.yaml: provenance\.part: got .*, expected band or wide"):
        sample_of(tmp_path, TINY, BUDGET, 1, seed=0)


def test_what_is_trained(tmp_path: Path) -> None:
    members = sample_of(tmp_path, TINY, BUDGET, 8, seed=0)
    config = AuditConfig(run=tmp_path, steps=100, seeds=2, long=0.5, short=(10, 20))
    truth, short, long_ones = SampleTrainings.of(config, members)
    assert Counter((training.steps, training.seed) for training in truth) == {(100, 0): 8, (100, 1): 8}
    assert all(training.curve == (50,) for training in truth)
    parts = {member.architecture: member.part for member in members}
    assert Counter(parts[training.architecture] for training in long_ones) == {"band": 2, "wide": 2}
    assert {(training.steps, training.seed) for training in long_ones} == {(LONG * 100, OTHER_SEED)}
    assert Counter((training.steps, training.seed) for training in short) == {(10, OTHER_SEED): 8, (20, OTHER_SEED): 8}
    assert not SampleTrainings.of(AuditConfig(run=tmp_path, long=0, short=()), members).long


@pytest.fixture
def run(folder: Path) -> Path:
    """A run's directory that holds no more than its config."""
    (folder / "run").mkdir()
    of_supernet = {"space": str(folder / "tiny.yaml"), "only": [], "data": str(folder / "images"), "image_size": 32, "seed": 0}
    config = of_supernet | {"budget": "3MFLOPs"}
    (folder / "run" / "config.json").write_text(json.dumps({"config": config}))
    return folder / "run"


COMMAND = ["--steps", "3", "--batch-size", "4", "--architectures", "4", "--long", "0.5", "--short", "2", "--workers", "1"]


def test_an_audit_trains_its_sample_and_reports_on_a_supernet(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run.parent
    searched = ["--space", str(folder / "tiny.yaml"), "--budget", "3MFLOPs", "--data", str(folder / "images")]
    searched += ["--out", str(folder / "found"), "--trials", "2", "--steps", "3", "--batch-size", "8", "--halving-candidates", "0"]
    assert search.main(searched) == 0
    assert "was not measured" in capsys.readouterr().out
    # Two runs share what was trained, and a second seed trains the rest.
    bench = ["--bench", str(folder / "bench")]
    assert audit.main(["--run", str(run), *COMMAND, *bench, "--seeds", "1"]) == 0
    assert "no supernet" in capsys.readouterr().out
    before = {file: file.stat().st_mtime_ns for file in (folder / "bench" / "trainings").iterdir()}
    assert len(before) == 4 + 2 + 4
    assert audit.main(["--run", str(folder / "found"), *COMMAND, *bench, "--seeds", "2", "--publish", str(folder / "published")]) == 0
    after = {file: file.stat().st_mtime_ns for file in (folder / "bench" / "trainings").iterdir()}
    assert len(after) == len(before) + 4
    assert all(after[file] == time for file, time in before.items())
    report = (folder / "found" / "audit" / "report.md").read_text()
    of_supernet = ("supernet", "supernet, not calibrated", "supernet, bias subtracted", "supernet + 2 steps alone")
    for printed in (*of_supernet, "MACs", "2 steps alone", "naswot", "local_mhra"):
        assert f"| {printed} |" in report
    for printed in ("perfect predictor", "one seed of the truth", "gradient cosine"):
        assert printed in report
    found = json.loads((folder / "found" / "audit" / "report.json").read_text())
    assert found["verdict"][0] in capsys.readouterr().out
    assert -1 <= found["correlations"]["band"]["supernet"]["tau"] <= 1
    rows = load_bench(folder / "published")
    assert rows == load_bench(folder / "found" / "audit")
    assert len(rows) == 4
    for row in rows:
        assert cost_of(row.architecture).macs == row.numbers["macs"]
        assert row.numbers["log-likelihood: 3 steps, seed 0"] < 0 <= row.numbers["accuracy: 3 steps, seed 1"]
        assert row.numbers["score: supernet"] < 0 < row.numbers["ms: cpu:1t:bs1:fp32"]
    assert "--publish" in (folder / "published" / "README.md").read_text()
    (folder / "published" / "architectures" / "000.yaml").write_text((folder / "published" / "architectures" / "001.yaml").read_text())
    with pytest.raises(UserError, match=r"000\.yaml: got"):
        load_bench(folder / "published")
    assert search.main(searched) == 0
    assert found["verdict"][0][:40] in " ".join(capsys.readouterr().out.split())


def test_a_search_can_subtract_what_an_audit_found(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run.parent
    trained = ["--space", str(folder / "tiny.yaml"), "--data", str(folder / "images"), "--budget", "3MFLOPs", "--steps", "3"]
    trained += ["--batch-size", "8", "--out"]
    how = ["--trials", "3", "--halving-candidates", "0", "--sampler", "random"]
    found, plain = ([*trained, str(folder / name), *how] for name in ("found", "plain"))
    assert train.main([*trained, str(folder / "found")]) == 0
    assert search.main([*found, "--subtract-bias"]) == 2
    assert "nas.audit" in capsys.readouterr().err
    assert audit.main(["--run", str(folder / "found"), *COMMAND]) == 0
    report = folder / "found" / "audit" / "report.json"
    content = json.loads(report.read_text())
    content["corrections"] = {"local_mhra": 3.0, "mlp": -1.0}
    report.write_text(json.dumps(content))
    assert search.main([*found, "--subtract-bias"]) == 0
    assert search.main(plain) == 0
    for one, other in zip(results_of(folder / "found"), results_of(folder / "plain"), strict=True):
        shares = shares_of(other.architecture)
        expected = other.score.log_likelihood - 3 * shares.get("local_mhra", 0) + shares.get("mlp", 0)
        assert one.architecture == other.architecture
        assert one.score.log_likelihood == pytest.approx(expected)


def results_of(folder: Path) -> list[Result]:
    """Of a run's search, in the order of its trials."""
    return sorted(StudyRecord(study_of(folder)).results(), key=lambda result: result.number)


def test_mistakes_end_in_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, printed in (
        (["--run", str(run.parent / "none")], "got no run's directory"),
        (["--run", str(run), "--budget", "3"], "budget: got '3'"),
        (["--run", str(run), "--bench", str(run.parent)], "choose another"),
    ):
        assert audit.main([*arguments, *COMMAND]) == 2
        assert printed in capsys.readouterr().err.splitlines()[-1]


def table_of(folder: Path) -> list[tuple[Architecture, str, dict[str, float]]]:
    """An audit's table, but for what depends on the machine's pace."""
    times = ("ms: ", "core-seconds: ", "score: latency")
    return [
        (row.architecture, row.part, {name: value for name, value in row.numbers.items() if not name.startswith(times)})
        for row in load_bench(folder)
    ]


ELSEWHERE = [["--workers", "2"], pytest.param(["--workers", "2", "--backend", "ray"], marks=pytest.mark.soak)]


@pytest.mark.parametrize("workers", ELSEWHERE, ids=["subprocesses", "ray"])
def test_an_audit_is_the_same_wherever_it_trains(workers: list[str], run: Path) -> None:
    once = [*COMMAND, "--seeds", "1"]
    assert audit.main(["--run", str(run), *once]) == 0
    here = table_of(run / "audit")
    # Their results in another folder, since those that are done are not done again.
    assert audit.main(["--run", str(run), *once, *workers, "--bench", str(run.parent / "elsewhere")]) == 0
    assert table_of(run / "audit") == here


def test_in_python_an_audit_gives_values_and_a_killed_training_is_done_again(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = DeadlyPictures(folder / "death", os.getpid())
    space = str(folder / "tiny.yaml")
    trained = train_call("3MFLOPs", data=data, space=space, image_size=32, steps=2, batch_size=8, out=folder / "supernet")
    how = {"architectures": 4, "seeds": 1, "steps": 3, "batch_size": 4, "short": (), "long": 0.0}
    found = audit_call(trained.folder, data=data, workers=2, **how)
    assert data.death.exists()
    printed = [line for line in capfd.readouterr().err.splitlines() if f"tried again (attempt 1 of {MAX_ATTEMPTS})" in line]
    assert printed
    assert all("its process was killed" in line for line in printed)
    assert len(list((found.folder / "trainings").glob("*.json"))) == 4
    assert found.folder == folder / "supernet" / "audit"
    assert list(found.verdict) == json.loads((found.folder / "report.json").read_text())["verdict"]
    assert -1 <= found.analysis.correlations["overall"]["supernet"].tau <= 1
    here = table_of(found.folder)
    audit_call(trained.folder, data=data, workers=1, bench=folder / "alone", **how)
    assert table_of(found.folder) == here


def test_a_training_that_always_raises_ends_an_audit_with_its_traceback_and_keeps_the_others(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = sample_of(run / "audit" / "sample", TINY.replace(num_classes=3), BUDGET, 4, seed=0)[1].architecture
    build = standalone.build_network

    def fail(architecture: Architecture) -> object:
        if architecture == second:
            raise ArithmeticError("no such number")
        return build(architecture)

    (run / "audit" / "config.json").write_text((run / "config.json").read_text())
    once = ["--run", str(run), *COMMAND, "--seeds", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(standalone, "build_network", fail)
        with pytest.raises(JobError, match=r"(?s)failed 3 times, .*no such number.*Traceback.*in fail"):
            audit.main(once)
    kept = {file: file.stat().st_mtime_ns for file in (run / "audit" / "trainings").glob("*.json")}
    assert len(kept) >= 3 + 2
    assert not any(file.name.startswith(second.fingerprint) for file in kept)
    assert not (run / "audit" / "report.md").exists()
    assert audit.main(once) == 0
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
