"""`python -m nas.compare`: who takes part, what is done again, and what the table says."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nas.compare import __main__ as compare
from nas.compare import compare as compare_call
from nas.compare.bootstrap import Estimate
from nas.compare.comparison import Contender, ContenderResult
from nas.compare.figures import Figures
from nas.compare.outputs import comparison_table, median_of_random
from nas.execution.loop import JobError
from nas.retrain import retraining
from nas.runs.records.comparison import read_comparison
from nas.runs.records.role import Role
from nas.search import __main__ as search
from nas.search import search as search_call
from proxies.cost import parse_budget
from proxies.published import parents_within
from space.architecture import Architecture
from space.errors import SpaceError
from space.files import dump_architecture, load_architecture, load_space
from tests.nas.conftest import Mistaken
from tests.nas.deadly_pictures import DeadlyPictures
from tests.nas.small_commands import RECIPE
from tests.nas.small_search import BUDGET, command
from tests.pictures import write_pictures


@pytest.fixture
def searched(folder: Path) -> Path:
    assert search.main(command(folder, "--trials", "2")) == 0
    write_pictures(folder / "images" / "val", count=4)
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def options(folder: Path, *more: str) -> list[str]:
    return [str(folder / "run"), "--recipe", str(folder / "recipe.yaml"), "--random", "2", "--workers", "1", *more]


def retrained(folder: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in (folder / "run" / "comparison").glob("*/result.json")}


def test_all_are_retrained_alike_and_nothing_twice(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(searched / "run" / "best.yaml", searched / "copy.yaml")
    # No name makes a winner.
    shutil.copy(searched / "run" / "next-2.yaml", searched / "found.yaml")
    others = [str(searched / "found.yaml"), str(searched / "copy.yaml")]
    assert compare.main(options(searched, "--seeds", "1", *others)) == 0
    first = retrained(searched)
    capsys.readouterr()
    assert compare.main(options(searched, "--seeds", "2", *others)) == 0
    out = capsys.readouterr().out
    said = [line for line in out.splitlines() if line.startswith("retraining: ")]
    assert re.fullmatch(r"retraining: \d+/\d+ \(50 %\)", said[0])
    assert re.search(r"\(100 %\), (\d+) of \1 trainings, .*, seed \d: [\d.]+%$", said[-1])
    again = retrained(searched)
    assert {file: again[file] for file in first} == first
    assert len(again) == 2 * len(first)
    with (searched / "run" / "comparison" / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    # The winner comes once, though a copy of it was named too.
    assert {row["network"] for row in rows} >= {"found", "found (2)", "random 1", "random 2"}
    assert len({(row["fingerprint"], row["seed"]) for row in rows}) == len(rows) == len(again)
    (found,) = {row["fingerprint"] for row in rows if row["network"] == "found"}
    assert found == load_architecture(searched / "run" / "best.yaml").fingerprint
    record = read_comparison(searched / "run")
    assert record is not None
    assert [one.fingerprint for one in record.of_role(Role.WINNER)] == [found]
    assert [one.label for one in record.of_role(Role.OTHER)] == ["found (2)"]
    assert sorted(one.label for one in record.of_role(Role.RANDOM)) == ["random 1", "random 2"]
    budget = parse_budget(BUDGET, floor=0.5)
    for row in rows:
        result = json.loads((searched / "run" / "comparison" / f"{row['fingerprint']}-{row['seed']}" / "result.json").read_text())
        assert (result["test"]["value"], result["test"]["images"]) == (float(row["test_accuracy"]), 12)
        assert (result["steps"], result["seed"]) == (result["planned_steps"], int(row["seed"]))
        assert int(row["macs"]) <= budget.limits["macs"]
        if row["network"].startswith("random"):
            assert budget.least <= int(row["macs"])
    page = (searched / "run" / "comparison" / "comparison.md").read_text()
    for printed in ("their median", "found", "random 1", "means over 2 seeds", "nas.compare"):
        assert printed in page
    assert "their median" in out


def test_what_cannot_be_compared_is_refused(searched: Path, mistaken: Mistaken) -> None:
    assert "smaller.yaml" in mistaken(compare.main, options(searched, "smaller.yaml"))
    shutil.rmtree(searched / "images" / "val")
    assert "no test part" in mistaken(compare.main, options(searched))
    (searched / "run" / "best.yaml").unlink()
    assert "no best.yaml" in mistaken(compare.main, options(searched))
    assert "needs --backend ray" in mistaken(compare.main, options(searched, "--ray-address", "127.0.0.1:1"))
    assert not retrained(searched)


ARCHITECTURE = load_space("hybrid-32").smallest()


def accuracies(label: str, *by_seed: float, role: Role = Role.OTHER) -> ContenderResult:
    return ContenderResult(Contender(label, ARCHITECTURE, role), by_seed)


def figures(subject: ContenderResult, rows: list[ContenderResult]) -> Figures:
    return Figures(subject, [subject], [], rows, frozenset())


def test_a_lead_has_an_interval_where_there_are_seeds() -> None:
    found, other = accuracies("found", 0.52, 0.50, 0.51), accuracies("other", 0.40, 0.42, 0.41)
    lead = other.lead_of(found)
    assert lead.value == pytest.approx(0.10)
    # Differences .12, .08 and .10: a standard deviation of .02 over three seeds, two degrees of freedom, t = 4.303.
    assert lead.interval == pytest.approx((0.10 - 4.303 * 0.02 / 3**0.5, 0.10 + 4.303 * 0.02 / 3**0.5), abs=1e-5)
    assert accuracies("other", 0.41).lead_of(accuracies("found", 0.5)) == Estimate(pytest.approx(0.09))
    equal = accuracies("other", 0.4, 0.4).lead_of(accuracies("found", 0.5, 0.5))
    assert (equal.value, equal.interval) == (pytest.approx(0.1), pytest.approx((0.1, 0.1)))


def test_the_median_is_that_of_the_random_ones() -> None:
    rows = [accuracies("found", 0.9), accuracies("parent", 0.1), *(accuracies(f"random {i}", i / 10, role=Role.RANDOM) for i in (2, 5, 3))]
    two = accuracies("found", 0.5, 0.6)
    assert comparison_table(figures(two, [two]), "accuracy")[1][0][3] == "55.0 [0.0, 100.0]"
    middle = median_of_random(rows)
    assert middle is rows[4]
    assert median_of_random(rows[:2]) is None
    _, table = comparison_table(figures(rows[0], rows), "accuracy")
    assert [row[0] for row in table if "median" in row[0]] == ["random 3 (their median)"]
    assert [row[-1] for row in table] == ["", "+80.0", "+70.0", "+40.0", "+60.0"]


@pytest.mark.parametrize(
    ("name", "unit", "macs", "params"), [("uniformer-s-plus", "GFLOPs", "4.20", "24.0"), ("topformer-t", "MFLOPs", "120", "1.50")]
)
def test_costs_are_in_a_unit_that_fits(name: str, unit: str, macs: str, params: str) -> None:
    one = ContenderResult(Contender("found", load_architecture(name)), (0.5,))
    headings, (cells,) = comparison_table(figures(one, [one]), "accuracy")
    assert (headings[1:3], cells[1:3]) == ([unit, "Mparams"], [macs, params])


def test_networks_are_priced_as_the_search_priced_them_whatever_size_they_train_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Sub-sampling by 8 does not stand on what is left of the digits in the last stages, where it runs all the same.
    monkeypatch.chdir(tmp_path)
    space, coarse = load_space("hybrid-224"), "ssa(sr_ratio=8)"
    winner = space.decide(lambda _, options: coarse if coarse in options else options[-1]).replace(num_classes=10)
    with pytest.raises(SpaceError, match="sr_ratio"):
        winner.replace(image_size=32)
    config = {"space": "hybrid-224", "data": "digits", "image_size": 32, "seed": 0, "only": [], "budget": "4.5GFLOPs", "floor": 0.9}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps({"config": config}))
    (tmp_path / "run" / "best.yaml").write_text(dump_architecture(winner))
    assert compare.main(["run", "--random", "3", "--seeds", "1", "--dry-run"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    # The winner, three random ones, and the eight published networks that fit at 224 px.
    assert "12 of 12 retrainings" in out
    assert "found" in out


@pytest.mark.parametrize("workers", [["--workers", "2"], pytest.param(["--workers", "2", "--backend", "ray"], marks=pytest.mark.soak)],
                         ids=["subprocesses", "ray"])  # fmt: skip
def test_a_comparison_is_the_same_wherever_it_trains(workers: list[str], searched: Path) -> None:
    here, elsewhere = searched / "run" / "comparison", searched / "elsewhere"
    assert compare.main(options(searched, "--seeds", "1")) == 0
    assert compare.main(options(searched, "--seeds", "1", *workers, "--out", str(elsewhere))) == 0
    assert (elsewhere / "comparison.csv").read_bytes() == (here / "comparison.csv").read_bytes()


def test_a_retraining_that_always_raises_ends_with_its_traceback_and_keeps_the_others(
    searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner, build = load_architecture(searched / "run" / "best.yaml").fingerprint, retraining.build_network

    def fail(architecture: Architecture, *more: float, **named: float) -> object:
        if architecture.fingerprint == winner:
            raise ArithmeticError("no such number")
        return build(architecture, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr(retraining, "build_network", fail)
        with pytest.raises(JobError, match=r"(?s)^retraining found, seed 0: failed 3 times, .*no such number.*Traceback.*in fail"):
            compare.main(options(searched, "--seeds", "1"))
    kept = retrained(searched)
    assert len(kept) >= 2
    assert not any(winner in str(file) for file in kept)
    assert compare.main(options(searched, "--seeds", "1")) == 0
    again = retrained(searched)
    assert len(again) == len(kept) + 1
    assert {file: again[file] for file in kept} == kept


def test_a_retraining_whose_process_is_killed_is_done_again(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "recipe.yaml").write_text(RECIPE)
    data = DeadlyPictures(folder / "death", os.getpid())
    given = {"data": data, "test_data": replace(data), "recipe": str(folder / "recipe.yaml"), "seeds": 2, "image_size": 32}
    smallest = load_space(str(folder / "tiny.yaml")).smallest()
    compared = compare_call(smallest, workers=2, out=folder / "killed", **given)
    assert data.death.exists()
    printed = [line for line in capfd.readouterr().err.splitlines() if "its process was killed" in line]
    assert printed
    assert all(line.endswith("; tried again (attempt 1 of 3)") for line in printed)
    alone = compare_call(smallest, workers=1, out=folder / "alone", **given)
    assert [row.by_seed for row in compared.rows] == [row.by_seed for row in alone.rows]
    assert len(compared.subject.by_seed) == 2


def test_an_architecture_is_compared_with_the_published_networks_within_its_budget(searched: Path, mistaken: Mistaken) -> None:
    given = ["--recipe", str(searched / "recipe.yaml"), "--seeds", "1", "--workers", "1", "--out", str(searched / "against")]
    best = str(searched / "run" / "best.yaml")
    assert "--data: missing, expected the images to compare" in mistaken(compare.main, [best, *given])
    given += ["--data", str(searched / "images")]
    assert "--random: has no effect beside an architecture" in mistaken(compare.main, [best, *given, "--random", "1"])
    assert compare.main([best, *given]) == 0
    with (searched / "against" / "comparison.csv").open() as file:
        rows = {row["network"]: row["fingerprint"] for row in csv.DictReader(file)}
    architecture = load_architecture(best)
    fitting = parents_within(architecture, parse_budget(BUDGET, 0.0))
    assert fitting
    assert rows == {architecture.name: architecture.fingerprint} | {
        parent.architecture.name: parent.architecture.fingerprint for parent in fitting
    }


def test_a_folder_with_a_published_networks_name_is_no_search(
    searched: Path, mistaken: Mistaken, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(searched)
    for name in ("topformer-t", "other"):
        (searched / name).mkdir()
    arguments = ["--data", str(searched / "images"), "--recipe", str(searched / "recipe.yaml"), "--dry-run"]
    assert compare.main(["topformer-t", *arguments]) == 0
    assert "topformer-t" in capsys.readouterr().out
    assert "other: got no run's directory" in mistaken(compare.main, ["other", "--recipe", str(searched / "recipe.yaml")])
    assert "other: got no run's directory" in mistaken(compare.main, options(searched, "other"))


def test_in_python_found_values_are_compared_and_rows_come_back(searched: Path) -> None:
    found = search_call(
        BUDGET, data=str(searched / "images"), space=str(searched / "tiny.yaml"), floor=0.5, trials=2, steps=3, batch_size=8, keep=2,
        halving_candidates=0, workers=1, out=searched / "found",
    )  # fmt: skip
    how = {"recipe": str(searched / "recipe.yaml"), "seeds": 1, "workers": 1}
    compared = compare_call(found.best, found.architectures[1], data=searched / "images", out=searched / "values", **how)
    assert compared.folder == searched / "values"
    assert compared.subject.contender.architecture.fingerprint == found.best.architecture.fingerprint
    labels = [row.contender.label for row in compared.rows]
    assert compared.subject in compared.rows
    assert found.architectures[1].architecture.name in labels
    assert sorted((row.mean for row in compared.rows), reverse=True) == [row.mean for row in compared.rows]
    assert all(row.interval and row.interval.num_seeds == len(row.by_seed) == 1 for row in compared.rows)
    of_run = compare_call(found.folder, random=1, **how)
    assert of_run.subject.contender.label == "found"
    assert [row.contender.role for row in of_run.rows].count(Role.RANDOM) == 1
    assert of_run.subject.by_seed == compared.subject.by_seed


def test_a_network_of_a_published_name_is_not_taken_for_that(searched: Path) -> None:
    namesake = load_architecture(searched / "run" / "next-2.yaml").replace(name="topformer-t")
    how = {"recipe": str(searched / "recipe.yaml"), "seeds": 1, "workers": 1, "data": searched / "images"}
    # However they rank, the one that is compared is the one that was given.
    for subject, other in ((namesake, "topformer-t"), ("topformer-t", namesake)):
        compared = compare_call(subject, other, out=searched / f"{type(subject).__name__}", **how)
        assert {row.contender.label for row in compared.rows} >= {"topformer-t", "topformer-t (2)"}
        given = load_architecture(subject).replace(num_classes=3) if isinstance(subject, str) else subject
        assert compared.subject.contender.architecture.stages == given.stages
