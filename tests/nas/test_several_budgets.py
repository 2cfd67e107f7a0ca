"""Several budgets in one command: the supernet is trained once, and each budget has a run of its own and a winner."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from nas.search import __main__ as command_line
from nas.search import search_budgets
from nas.search.command_config import SearchCommandConfig
from nas.study.source_trials import SOURCE
from proxies.cost import parse_budget
from proxies.macs import cost_of
from space import load_architecture
from space.errors import UserError
from tests.nas.conftest import Mistaken
from tests.nas.small_search import study_of

SMALL = ["--floor", "0.5", "--trials", "3", "--keep", "1", "--halving-candidates", "0", "--workers", "1"]
TRAINING = ["--steps", "3", "--batch-size", "8"]


def command(folder: Path, budgets: str, *more: str) -> list[str]:
    where = ["--space", str(folder / "tiny.yaml"), "--data", str(folder / "images"), "--out", str(folder / "run")]
    return ["--budgets", budgets, *SMALL, *TRAINING, *where, *more]


def winners(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "run" / "winners.csv").open(newline="") as file:
        return {row["budget"]: row for row in csv.DictReader(file)}


def test_one_supernet_gives_a_winner_for_each_budget_and_another_one_later(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(command(folder, "2.2,3MFLOPs")) == 0
    assert capsys.readouterr().out.count("supernet: 3 steps") == 1
    weights = (folder / "run" / "supernet.safetensors").read_bytes()
    rows = winners(folder)
    assert list(rows) == ["2.2MFLOPs", "3MFLOPs"]
    for budget, row in rows.items():
        limits = parse_budget(budget, 0.5)
        assert limits.least <= int(row["macs"]) <= limits.limits["macs"]
        best = load_architecture(folder / "run" / row["file"])
        assert cost_of(best).macs == int(row["macs"])
        assert best.fingerprint == row["fingerprint"]
        assert len(study_of(folder / "run" / budget).trials) == 3
    trials = [trial.datetime_complete for trial in study_of(folder / "run" / "3MFLOPs").trials]
    assert command_line.main(command(folder, "2.2,3,4MFLOPs")) == 0
    assert list(winners(folder)) == ["2.2MFLOPs", "3MFLOPs", "4MFLOPs"]
    assert {budget: row for budget, row in winners(folder).items() if budget in rows} == rows
    known = {budget: study_of(folder / "run" / budget).user_attrs.get(SOURCE, {"values": []})["values"] for budget in winners(folder)}
    assert [len(values) for values in known.values()] == [0, 3, 6]
    assert (folder / "run" / "supernet.safetensors").read_bytes() == weights
    assert [trial.datetime_complete for trial in study_of(folder / "run" / "3MFLOPs").trials] == trials


def test_a_trained_supernet_is_searched_from_python(folder: Path) -> None:
    assert command_line.main(command(folder, "3MFLOPs")) == 0
    small = {"floor": 0.5, "trials": 2, "keep": 1, "halving_candidates": 0, "workers": 1}
    found = search_budgets(["2.2MFLOPs", "2.6MFLOPs"], supernet=folder / "run", out=folder / "second", **small)
    assert {budget: one.folder for budget, one in found.items()} == {
        budget: folder / "second" / budget for budget in ("2.2MFLOPs", "2.6MFLOPs")
    }
    assert not (folder / "second" / "supernet.safetensors").exists()


def test_a_plan_names_each_search_and_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(command(folder, "2.2,3MFLOPs", "--dry-run")) == 0
    printed = capsys.readouterr().out
    for phase in ("training", "2.2MFLOPs search", "3MFLOPs search"):
        assert printed.count(f"\n{phase} ") == 1, printed
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("1,2,4GFLOPs", ["1GFLOPs", "2GFLOPs", "4GFLOPs"]),
        ("1,2GFLOPs 25Mparams", ["1GFLOPs 25Mparams", "2GFLOPs 25Mparams"]),
        ("900MFLOPs, 2GFLOPs", ["900MFLOPs", "2GFLOPs"]),
    ],
)
def test_a_number_goes_on_as_the_last_budget_does(given: str, expected: list[str]) -> None:
    assert list(SearchCommandConfig(budgets=given).searches(Path("run"))) == expected


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "--budget: expected one"),
        (["--budget", "1GFLOPs", "--budgets", "1,2GFLOPs"], "--budget: expected one"),
        (["--budgets", "1,,2GFLOPs"], "--budgets: got '1,,2GFLOPs', expected different budgets"),
        (["--budgets", "1,1GFLOPs"], "--budgets: got '1,1GFLOPs', expected different budgets"),
        (["--budgets", "1,2GFLOPs", "--evaluator", "standalone"], "--evaluator: got standalone, expected supernet"),
        (["--budgets", "1,2GFLOPs", "--scope", "band"], "--scope: not with several budgets"),
    ],
)
def test_what_cannot_be_is_refused(options: list[str], complaint: str, mistaken: Mistaken) -> None:
    assert complaint in mistaken(command_line.main, options)


def test_a_budget_out_of_reach_ends_before_the_training(folder: Path, mistaken: Mistaken) -> None:
    assert "budget" in mistaken(command_line.main, command(folder, "3MFLOPs,9GFLOPs"))
    assert not (folder / "run").exists()
    with pytest.raises(UserError, match="budget"):
        search_budgets(["3MFLOPs", "1kFLOPs"], space=str(folder / "tiny.yaml"), data=folder / "images", out=folder / "run")
