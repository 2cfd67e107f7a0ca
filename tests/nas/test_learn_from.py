"""A search may learn from earlier ones with the same supernet: their trials are known, but none of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nas import join
from nas.search import __main__ as search
from nas.study.source_trials import SOURCE
from tests.nas.conftest import Mistaken
from tests.nas.small_search import study_of

BUDGET = "2.2MFLOPs"


def learning(place: Path, *more: str) -> list[str]:
    """A search of the finished one's supernet in a smaller budget that learns from it."""
    small = ["--trials", "3", "--floor", "0.5", "--keep", "1", "--workers", "1", "--halving-candidates", "0"]
    supernet = ["--supernet", str(place / "run"), "--learn-from", str(place / "run")]
    return ["--budget", BUDGET, *small, *supernet, "--out", str(place / "second"), *more]


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Path:
    """A folder with a finished search and its pictures."""
    return Path(shutil.copytree(finished, tmp_path / "place"))


def test_the_study_keeps_what_it_learns_from(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search.main(learning(place)) == 0
    assert "the sampler learns from 5 architectures evaluated before" in capsys.readouterr().out
    first, second = study_of(place / "run"), study_of(place / "second")
    source = second.user_attrs[SOURCE]
    assert source["values"] == [trial.values for trial in first.trials]
    assert len(second.trials) == 3
    # Another process, and a later run, know the same, whatever else the earlier search has evaluated since.
    document = json.loads((place / "second" / "config.json").read_text())
    document["config"]["trials"] = 4
    (place / "second" / "config.json").write_text(json.dumps(document))
    assert join.main([str(place / "second"), "--workers", "1"]) == 0
    assert search.main(learning(place, "--trials", "5")) == 0
    again = study_of(place / "second")
    assert len(again.trials) == 5
    assert again.user_attrs[SOURCE] == source


def test_scores_that_do_not_compare_are_refused(place: Path, mistaken: Mistaken) -> None:
    assert "--learn-from: expected --supernet DIR beside it" in mistaken(
        search.main, ["--budget", BUDGET, "--learn-from", str(place / "run")]
    )
    assert "--learn-from: has no effect with --sampler random" in mistaken(search.main, learning(place, "--sampler", "random"))
    assert "got no run's directory" in mistaken(search.main, learning(place, "--learn-from", str(place / "images")))
    assert "its objectives differs" in mistaken(search.main, learning(place, "--objectives", "accuracy", "macs"))
    assert "got race False, expected True" in mistaken(search.main, learning(place, "--race"))
    other = shutil.copytree(place / "run", place / "other")
    document = json.loads((other / "config.json").read_text())
    document["config"]["data"] = "digits"
    (other / "config.json").write_text(json.dumps(document))
    assert "got data digits" in mistaken(search.main, learning(place, "--learn-from", str(other)))
    (other / "study.journal").unlink()
    assert "got no study there" in mistaken(search.main, learning(place, "--learn-from", str(other)))
    assert not (other / "study.journal").exists()
    assert not (place / "second").exists()
