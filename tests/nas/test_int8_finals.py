"""Finalists are judged in INT8 where that is asked for; who loses more than the bound is passed over, and that is said."""

from dataclasses import asdict, replace
from functools import partial
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

from nas.evaluators.int8 import int8_scores
from nas.evaluators.standalone import training_alone
from nas.evaluators.trainings import Conditions, Training
from nas.execution.loop import Deadline
from nas.execution.resources import Resources
from nas.execution.workers import open_workers
from nas.runs.records.halving import CandidateRecord, HalvingRecord, read_halving, write_halving
from nas.search import __main__ as search
from nas.search.config import SearchConfig
from nas.search.int8 import check_int8
from nas.search.outputs import print_halving
from nas.search.successive_halving import Candidate, halve
from nas.train.supernet_run import SupernetRun
from proxies.cost import BudgetError
from space.files import load_provenance, load_space
from space.network import build_network
from supernet.score import Score
from tests.nas.conftest import Mistaken
from tests.nas.small_search import command
from tests.pictures import write_pictures

SPACE = load_space("hybrid-32").replace(num_classes=3)


def score(value: float) -> Score:
    return Score(value, 0.01, value - 1, 0.01, 100)


def record_of(*candidates: tuple[str, float, float], bound: float | None = 1.0) -> HalvingRecord:
    """Of candidates, best first: label, accuracy in floating point and in INT8."""
    records = [
        CandidateRecord(label, f"fingerprint of {label}", True, ((score(first),),), int8=((score(first), score(second)),))
        for label, first, second in candidates
    ]
    return HalvingRecord((10,), 1, tuple(records), tuple(one.label for one in records), bound)


def printed(record: HalvingRecord) -> str:
    text = StringIO()
    print_halving(Console(file=text, width=160), record)
    return " ".join(text.getvalue().split())


def test_who_loses_too_much_is_passed_over_and_that_is_said(tmp_path: Path) -> None:
    record = record_of(("trial 4", 0.62, 0.59), ("trial 2", 0.61, 0.605), ("trial 7", 0.55, 0.56))
    assert [one.label for one in record.eligible] == ["trial 2", "trial 7"]
    assert record.winner.label == "trial 2"
    said = printed(record)
    assert "trial 4 is passed over: INT8 takes 3.0 points, at most 1 are allowed." in said
    assert said.count("is passed over") == 1
    assert "62.0 / 59.0" in said
    assert "trial 2 cannot be told apart from trial 7" in said
    write_halving(tmp_path, record)
    assert read_halving(tmp_path) == record


def test_without_a_bound_nobody_is_passed_over_and_nothing_is_said() -> None:
    record = record_of(("trial 4", 0.62, 0.1), bound=None)
    assert record.winner.label == "trial 4"
    assert "INT8" not in printed(record)


def test_a_published_network_is_no_news() -> None:
    record = record_of(("davit-t", 0.62, 0.1), ("trial 4", 0.6, 0.6))
    first, second = record.candidates
    record = replace(record, candidates=(replace(first, competes=False), second))
    assert "is passed over" not in printed(record)
    assert record.winner.label == "trial 4"


def test_where_everyone_loses_too_much_the_least_is_named() -> None:
    record = record_of(("trial 4", 0.62, 0.59), ("trial 2", 0.61, 0.585))
    with pytest.raises(BudgetError, match=r"max_int8_drop: got a loss of 2.5 points of accuracy at the least .*, expected at most 1;"):
        check_int8(record)


@pytest.fixture
def run(tmp_path: Path) -> SupernetRun:
    write_pictures(tmp_path / "images" / "train", count=10)
    return SupernetRun(tmp_path, SPACE, str(tmp_path / "images"), 32, seed=0)


def test_both_scores_are_of_the_same_images(run: SupernetRun) -> None:
    torch.manual_seed(0)
    network = build_network(SPACE.smallest())
    first, second = int8_scores(network, run)
    assert first.num_images == second.num_images == len(run.images()[1].search)
    # Close, and not equal: eight bits are not thirty-two.
    assert 0 < abs(first.log_likelihood - second.log_likelihood) < 0.2
    assert network.training


def test_successive_halving_measures_int8(run: SupernetRun) -> None:
    mixers = SPACE.slots["stage3.block1.mixer"][:2]
    smallest = SPACE.parameters_of(SPACE.smallest())
    members = [SPACE.replay(smallest | {"stage3.block1.mixer": mixer}) for mixer in mixers]
    candidates = [Candidate(f"trial {number}", one, score(number / 10)) for number, one in enumerate(members)]
    conditions = Conditions(run, 4, run.folder / "standalone", int8=True)
    with open_workers(partial(training_alone, conditions), Resources(1), run.folder / "ray") as workers:
        found = halve(conditions, candidates, (1, 2), workers, Deadline(), lambda *_: None, 0.0)
    assert [len(one.int8) for one in found.candidates] == [2, 2]
    # That of the last rung, which is scored on test images as well.
    training = Training(members[0], 2, 0, tests=True)
    alone = replace(conditions, int8=False)
    assert alone.result_of(training) is None
    known = conditions.result_of(training)
    assert known is not None
    assert known.int8 is not None
    assert all(len(asdict(one)["others"]) == 0 for one in known.int8)


def test_a_search_with_the_bound_tells_of_int8(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    options = ("--halving-candidates", "2", "--halving-steps", "2", "--trials", "3", "--max-int8-drop", "99")
    assert search.main(command(folder, *options)) == 0
    assert "convolutions and linear layers are quantised" in capsys.readouterr().out
    assert "int8_drop" in load_provenance(folder / "run" / "best.yaml")
    assert "float, INT8:" in (folder / "run" / "report.html").read_text()


def test_the_bound_is_one_where_a_latency_in_int8_is_asked_for(tmp_path: Path) -> None:
    assert SearchConfig(budget="1GFLOPs 6ms@ort-int8", out=tmp_path).max_int8_drop == 1.0
    assert SearchConfig(budget="1GFLOPs 6ms@ort-int8", out=tmp_path, max_int8_drop=2.5).max_int8_drop == 2.5
    assert SearchConfig(budget="1GFLOPs 6ms@ort", out=tmp_path).max_int8_drop is None
    assert SearchConfig(budget="1GFLOPs 6ms@ort-int8", out=tmp_path, halving_candidates=0).max_int8_drop is None


def test_a_bound_without_finals_is_refused(folder: Path, mistaken: Mistaken) -> None:
    assert "--max-int8-drop: has no effect without halving_candidates" in mistaken(search.main, command(folder, "--max-int8-drop", "1"))


def test_without_onnxruntime_a_search_says_so_at_once(folder: Path, mistaken: Mistaken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    arguments = command(folder, "--halving-candidates", "2", "--max-int8-drop", "1")
    assert "got no onnxruntime, expected it installed" in mistaken(search.main, arguments)
    assert not (folder / "run").exists()
