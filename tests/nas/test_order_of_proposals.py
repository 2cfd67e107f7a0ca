"""The same seed gives the same proposals: however many workers there are, and however often the search is interrupted."""

from __future__ import annotations

import random
import zlib
from functools import cache
from pathlib import Path

import pytest

from nas.objectives import objectives_of
from nas.samplers import sampler_names
from nas.study import ArchitectureStudy, Proposal
from proxies.architecture_band import ArchitectureBand
from proxies.cost import Budget, parse_budget
from space.files import parse_space
from supernet.accuracy import Score
from tests.nas.small_search import BUDGET, SPACE

LAG, TRIALS = 4, 36
REPEATABLE = [name for name in sampler_names() if name != "tpe"]
"""Optuna's own sampler reads the study by itself."""


@cache
def band() -> ArchitectureBand:
    return ArchitectureBand(parse_space(SPACE, "tiny"), budget())


def budget() -> Budget:
    return parse_budget(BUDGET, floor=0.5)


def opened(storage: str, sampler: str) -> ArchitectureStudy:
    return ArchitectureStudy(storage, "search", band(), budget(), objectives_of(["accuracy"], budget()), sampler, seed=7, lag=LAG)


def score(proposal: Proposal) -> Score:
    """What an architecture's fingerprint says, whoever asks."""
    value = zlib.crc32(proposal.architecture.fingerprint.encode()) / 2**32
    return Score(value, 0.01, value - 1, 0.01, 100)


def searched(storage: str, sampler: str, workers: int, rng: random.Random, accidents: float = 0.0) -> list[str]:
    """Fingerprints in the order of their proposals, when workers finish in any order and some are lost with all that they know.

    Args:
        accidents: share of steps at which a worker is lost, or the whole process.
    """
    study = opened(storage, sampler)
    under_way: list[Proposal] = []
    while study.num_results < TRIALS:
        wanted = TRIALS - study.num_results - len(under_way)
        while wanted > 0 and len(under_way) < workers and study.is_ready():
            under_way.append(study.ask())
            wanted -= 1
        proposal = under_way.pop(rng.randrange(len(under_way)))
        if rng.random() >= accidents:
            study.tell(proposal, score(proposal), 0.1)
        elif rng.random() < 0.5:
            study.give_back(proposal)
        else:
            study, under_way = opened(storage, sampler), []
    results = {result.architecture.fingerprint: result.number for result in study.results()}
    assert len(results) == TRIALS
    places = study.places()
    return sorted(results, key=lambda fingerprint: places[results[fingerprint]])


@pytest.mark.parametrize("sampler", REPEATABLE)
def test_workers_and_interruptions_change_no_proposal(sampler: str, tmp_path: Path) -> None:
    alone = searched(f"sqlite:///{tmp_path / 'alone.db'}", sampler, 1, random.Random(0))
    for number, (workers, accidents) in enumerate([(LAG, 0.0), (3, 0.15)]):
        assert searched(f"sqlite:///{tmp_path / f'{number}.db'}", sampler, workers, random.Random(number), accidents) == alone
    assert len(set(alone)) == TRIALS


def test_nobody_is_asked_before_what_is_to_be_known_is_known(tmp_path: Path) -> None:
    study = opened(f"sqlite:///{tmp_path / 'study.db'}", "random")
    first, *others = [study.ask() for _ in range(LAG)]
    assert not study.is_ready()
    for proposal in others:
        study.tell(proposal, score(proposal), 0.1)
    assert not study.is_ready()
    study.give_back(first)
    # The first one is to be done again.
    assert study.is_ready()
    again = study.ask()
    assert again.architecture == first.architecture
    assert not study.is_ready()
    study.tell(again, score(again), 0.1)
    assert study.is_ready()
