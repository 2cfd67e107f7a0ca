"""How a study stands is counted from its trials: nothing is counted twice, and nothing is made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.samplers.in_band import SpaceExhausted
from nas.study.architecture_study import ArchitectureStudy
from nas.study.objectives import objectives_of
from nas.study.tally import Tally
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from space.files import parse_space
from supernet.accuracy import Score

# Two widths, two kernels and two ratios: eight architectures.
SMALL = """
schema: search-space/1
name: eight
image_size: 32
stem: {type: conv_stem, stride: 4}
stages:
  - widths: [16, 32]
    depths: [1]
    positions: [none]
    mixers: [{type: local_mhra, kernel_size: [3, 5]}]
    ffns: [{type: mlp, ratio: [1, 2]}]
"""


def opened(folder: Path) -> ArchitectureStudy:
    budget = parse_budget("100MFLOPs", floor=0.0)
    band = ArchitectureBand(parse_space(SMALL, "eight"), budget)
    return ArchitectureStudy(f"journal:{folder}/journal.log", "s", band, budget, objectives_of(["accuracy"], budget), "random", seed=1)


def test_every_trial_is_counted_once_whatever_came_of_it(tmp_path: Path) -> None:
    study = opened(tmp_path)
    assert study.tally() == Tally([], under_way=0, failed=0, interrupted=0, passed_over=0)
    with study.used():
        failing = study.ask(8)
        assert failing is not None
        assert study.tally().under_way == 1
        study.fail(failing, "of an accident")
        for accuracy in (0.3, 0.9, 0.6):
            proposal = study.ask(8)
            assert proposal is not None
            study.tell(proposal, Score(accuracy, 0.01, accuracy - 1, 0.01, 10), 0.1)
        assert study.ask(8) is not None
    tally = study.tally()
    assert (len(tally.evaluated), tally.under_way, tally.failed, tally.interrupted) == (3, 0, 1, 1)
    assert [one.place for one in tally.evaluated] == [1, 2, 3]
    assert tally.best is not None
    assert tally.best.score.accuracy == 0.9
    assert study.results()[0].number == tally.best.number
    assert study.results()[0].amounts == tally.best.amounts


def test_duplicates_that_the_sampler_passed_over_are_told(tmp_path: Path) -> None:
    study = opened(tmp_path)
    for _ in range(8):
        proposal = study.ask(9)
        assert proposal is not None
        study.tell(proposal, Score(0.5, 0.01, -0.5, 0.01, 10), 0.1)
    with pytest.raises(SpaceExhausted):
        study.ask(9)
    tally = study.tally()
    assert len({one.fingerprint for one in tally.evaluated}) == 8
    # Eight of eight are not drawn without drawing one again.
    assert tally.passed_over > 0
    assert opened(tmp_path).tally() == tally
