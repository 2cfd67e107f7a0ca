"""A study's summary counts each trial once."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.samplers.in_band import SpaceExhausted
from nas.study.architecture_study import ArchitectureStudy
from nas.study.objectives import objectives_of
from nas.study.record import StudySummary
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from space.files import parse_space
from supernet.score import Score

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


def test_every_trial_is_counted_once(tmp_path: Path) -> None:
    study = opened(tmp_path)
    assert study.summary() == StudySummary([], {}, num_running=0, num_interrupted=0, num_duplicates=0)
    with study.session():
        failing = study.ask(8)
        assert failing is not None
        assert study.summary().num_running == 1
        study.fail(failing, "of an accident")
        for accuracy in (0.3, 0.9, 0.6):
            proposal = study.ask(8)
            assert proposal is not None
            study.tell(proposal, Score(accuracy, 0.01, accuracy - 1, 0.01, 10), 0.1)
        assert study.ask(8) is not None
    summary = study.summary()
    assert (summary.num_running, summary.failures, summary.num_interrupted) == (0, {failing.number: "of an accident"}, 1)
    assert [result.index for result in summary.results] == [1, 2, 3]
    assert summary.best is not None
    assert summary.best.score.value == 0.9
    assert study.results()[0] == summary.best


def test_duplicates_that_the_sampler_dropped_are_counted(tmp_path: Path) -> None:
    study = opened(tmp_path)
    for _ in range(8):
        proposal = study.ask(9)
        assert proposal is not None
        study.tell(proposal, Score(0.5, 0.01, -0.5, 0.01, 10), 0.1)
    with pytest.raises(SpaceExhausted):
        study.ask(9)
    summary = study.summary()
    assert len({result.architecture.fingerprint for result in summary.results}) == 8
    # Nobody draws eight of eight without drawing one twice.
    assert summary.num_duplicates > 0
    assert opened(tmp_path).summary() == summary
