"""A search among some of a space's options, with a supernet of its own and with one of the whole space."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.compare import __main__ as compare
from nas.report import __main__ as report
from nas.search import __main__ as search
from nas.train.supernet_run import open_supernet_run
from space import Architecture, load_architecture
from tests.nas.conftest import Mistaken
from tests.nas.small_search import command, rows_of, study_of

ONLY = ["mixer=channel_group", "stage2.ffn=mlp"]
RECIPE = "schema: recipe/1\nepochs: 1\nbatch_size: 8\nlr: 1.0e-3\nmin_area: 0.8\nvalidation: 0.1\n"


def is_among(architecture: Architecture) -> bool:
    mixers = {block.mixer.type for stage in architecture.stages for block in stage.blocks}
    return mixers == {"channel_group"} and {block.ffn.type for block in architecture.stages[1].blocks} == {"mlp"}


def narrow(folder: Path, out: Path, *more: str) -> list[str]:
    """A narrowed search of the finished one's supernet."""
    options = ["--supernet", str(folder / "run"), "--budget", "3MFLOPs", "--floor", "0", "--trials", "5", "--keep", "5", "--workers", "1"]
    return [*options, "--halving-candidates", "0", "--only", *ONLY, "--out", str(out), *more]


def test_the_supernet_of_the_whole_space_is_searched_among_these(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "part"
    assert search.main(narrow(finished, out)) == 0
    found = [load_architecture(file) for file in out.glob("*.yaml")]
    assert len(found) >= 3
    assert all(map(is_among, found))
    assert len(rows_of(out / "trials.csv")) == 5
    # The scores are the whole supernet's, as a search of the whole space has them.
    run = open_supernet_run(out)
    assert run.space.size > run.searched_space.size > 0
    assert set(study_of(out).trials[0].params) <= run.searched_space.slots.keys()
    # Whoever opens the run again draws from the same part.
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    options = ["--random", "2", "--seeds", "1", "--recipe", str(tmp_path / "recipe.yaml"), "--test-data", str(finished / "images")]
    assert compare.main([str(out), *options]) == 0
    retrained = [load_architecture(file) for file in (out / "comparison").rglob("architecture.yaml")]
    # Of the published networks, one is within the budget.
    assert len([one for one in retrained if is_among(one)]) == 3
    assert len(retrained) == 4
    assert report.main([str(out)]) == 0


def test_a_supernet_of_its_own_has_no_other_options(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "own"
    assert search.main(command(finished, "--only", *ONLY, "--floor", "0", "--out", str(out))) == 0
    run = open_supernet_run(out)
    assert run.space == run.searched_space
    assert {mixer.type for mixers in run.space.mixers for mixer in mixers} == {"channel_group"}
    run.load_supernet()
    assert is_among(load_architecture(out / "best.yaml"))


def test_it_continues_as_the_same_search_alone(finished: Path, tmp_path: Path, mistaken: Mistaken) -> None:
    out = tmp_path / "part"
    assert search.main(narrow(finished, out)) == 0
    assert search.main(narrow(finished, out, "--trials", "6")) == 0
    assert "holds a run with only" in mistaken(search.main, narrow(finished, out, "--only", "mixer=local_mhra"))


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ("mixers=ssa", "--only: got 'mixers=ssa', expected KIND=OPTION"),
        ("mixer=ssa", "only: mixer=ssa: got none that stage 1 offers, expected some of local_mhra"),
        ("stage3.mixer=local_mhra", "got stage 3, expected one from 1 to 2"),
    ],
)
def test_what_is_no_part_of_the_space_ends_in_a_line(
    finished: Path, tmp_path: Path, mistaken: Mistaken, only: str, message: str
) -> None:
    assert message in mistaken(search.main, narrow(finished, tmp_path / "part", "--only", only))
