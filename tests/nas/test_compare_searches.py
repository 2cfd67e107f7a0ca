"""`nas.compare` with further searches: other seeds, one mixer alone, one kind of choice fixed."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path

import pytest

from nas.compare import __main__ as compare
from nas.compare import compare as compare_call
from nas.compare.comparison import Contender
from nas.compare.random_networks import drawn_evenly, drawn_from_band
from nas.report import __main__ as report
from nas.runs.directory import config_of_run
from nas.runs.records.comparison import read_comparison
from nas.runs.records.role import Role
from nas.search import __main__ as search
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from space.architecture import Architecture
from space.files import load_architecture, load_space
from tests.nas.conftest import Mistaken
from tests.nas.small_commands import copied
from tests.nas.small_search import BUDGET, command, trials_of

KINDS = {"width", "depth", "position", "mixer", "ffn"}
MIXERS = {"local_mhra", "channel_group", "bn_conv_attention"}


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Path:
    return copied(finished, tmp_path)


def options(place: Path, *more: str) -> list[str]:
    return [str(place / "run"), "--recipe", str(place / "recipe.yaml"), "--seeds", "1", "--random", "0", "--workers", "1", *more]


def written(folder: Path) -> dict[Path, int]:
    """When each study and each result of a comparison was last written."""
    return {file: file.stat().st_mtime_ns for name in ("study.journal", "result.json") for file in folder.rglob(name)}


def operators(architecture: Architecture, kind: str) -> set[str]:
    return {getattr(block, kind).label for stage in architecture.stages for block in stage.blocks}


def test_further_searches_take_part_with_their_winners_and_are_made_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = place / "run" / "comparison"
    asked = options(place, "--homogeneous", "--search-seeds", "1", "--fix-kinds", "--even-random", "2")
    assert compare.main([*asked, "--dry-run"]) == 0
    planned = " ".join(capsys.readouterr().out.split())
    assert "only channel_group: search" in planned
    assert "done already" not in planned
    assert not folder.exists()

    assert compare.main(asked) == 0
    shown = capsys.readouterr().out
    before = written(folder)
    assert compare.main(asked) == 0
    assert written(folder) == before

    trials = len(trials_of(place))
    for mixer in MIXERS:
        found = folder / "homogeneous" / mixer
        assert {label.partition("(")[0] for label in operators(load_architecture(found / "best.yaml"), "mixer")} == {mixer}
        with (found / "trials.csv").open() as file:
            assert len(list(csv.DictReader(file))) == trials
        assert config_of_run(found)["supernet"] == str(place / "run")
    assert config_of_run(folder / "seed-1")["supernet"] is None
    assert len(operators(load_architecture(folder / "fixed" / "ffn" / "best.yaml"), "ffn")) == 1

    record = read_comparison(place / "run")
    assert record is not None
    labels = [one.label for one in record.leads]
    assert {label.partition(" fixed at ")[0] for label in labels if " fixed at " in label} == KINDS
    assert {"only channel_group", "2 random networks with even mixers and feed-forward networks"} <= set(labels)
    assert record.leader == "the mean of the winners of 2 searches"
    assert {one.role for one in record.networks} >= {Role.WINNER, Role.EVEN_RANDOM, Role.PARENT}
    assert len(record.of_role(Role.EVEN_RANDOM)) == 2
    assert {row.answer for row in record.checklist} == {"yes", "partly", "no"}
    assert record.seconds.keys() == {"training supernets", "trials", "retraining"}
    assert [line for line in record.conclusions if "mixing" in line.lower()]
    page = (folder / "comparison.md").read_text()
    leads = f"What {record.leader} leads by"
    for heading in ("What the figures say", leads, "What it cost", "Best practices"):
        assert f"## {heading}" in page
    assert "ffn fixed at" in shown
    assert report.main([str(place / "run")]) == 0
    html = (place / "run" / "report.html").read_text()
    assert leads in html
    assert "Ablation" in html


@pytest.mark.parametrize(
    ("given", "answer", "fact"),
    [(("--compile", "off"), "partly", "the recipe is as it was written"), (("--quick",), "no", "changed: epochs 1, and")],
)
def test_the_checklist_tells_what_of_the_recipe_was_changed(place: Path, given: tuple[str, ...], answer: str, fact: str) -> None:
    assert compare.main(options(place, *given)) == 0
    record = read_comparison(place / "run")
    assert record is not None
    (tuned,) = (row for row in record.checklist if row.point.startswith("How hyperparameters were tuned"))
    assert tuned.answer == answer
    assert tuned.fact.startswith(fact)


def test_other_searches_take_part_if_they_are_of_the_same_space_budget_and_data(place: Path, mistaken: Mistaken) -> None:
    again, other = place / "again", place / "other"
    given = ["--supernet", str(place / "run"), "--data", config_of_run(place / "run")["data"], "--trials", "2"]
    without_space = [word for word in command(place, trains=False) if word not in ("--space", str(place / "tiny.yaml"))]
    assert search.main([*without_space, *given, "--seed", "1", "--out", str(again)]) == 0
    assert search.main([*without_space, *given, "--floor", "0.4", "--out", str(other)]) == 0
    assert "got a search with floor 0.4, expected 0.5" in mistaken(compare.main, options(place, str(other)))
    assert "in front of" in mistaken(compare.main, [str(again / "best.yaml"), str(place / "run"), "--data", str(place / "images")])
    shutil.rmtree(other)
    compared = compare_call(place / "run", again, recipe=place / "recipe.yaml", seeds=1, random=0, workers=1)
    winners = {row.contender.architecture.fingerprint for row in compared.rows if row.contender.role is Role.WINNER}
    assert winners == {load_architecture(run / "best.yaml").fingerprint for run in (place / "run", again)}


def test_even_random_networks_lie_in_the_band(place: Path) -> None:
    compared = compare_call(place / "run", recipe=place / "recipe.yaml", seeds=1, random=1, even_random=3, workers=1)
    budget = parse_budget(BUDGET, 0.5)
    drawn = [row.contender for row in compared.rows if row.contender.role is Role.EVEN_RANDOM]
    assert sorted(one.label for one in drawn) == ["even random 1", "even random 2", "even random 3"]
    assert all(budget.least <= one.cost.macs <= budget.limits["macs"] for one in drawn)


def test_even_random_networks_hold_all_mixers_where_those_of_the_band_hold_the_cheapest() -> None:
    band = ArchitectureBand(load_space("hybrid-32"), parse_budget("15MFLOPs", 0.9))

    def greatest_share(drawn: list[Contender]) -> float:
        mixers = Counter(block.mixer.type for one in drawn for stage in one.architecture.stages for block in stage.blocks)
        return max(mixers.values()) / mixers.total()

    assert greatest_share(drawn_from_band(band, 40, 0)) > 0.6
    even = drawn_evenly(band, 40, 0)
    assert greatest_share(even) < 0.3
    assert all(band.contains(one.architecture) for one in even)
    assert [one.architecture for one in drawn_evenly(band, 5, 0)] == [one.architecture for one in even[:5]]
