"""The same seed gives the same proposals, for any number of workers and of interruptions."""

from __future__ import annotations

import random
import zlib
from functools import cache
from pathlib import Path

import pytest

from nas.samplers.by_name import sampler_names
from nas.study.architecture_study import ArchitectureStudy
from nas.study.objectives import objectives_of
from nas.study.record import Proposal
from nas.study.schedule import MAX_INTERRUPTIONS
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget, parse_budget
from space.files import parse_space
from supernet.score import Score
from tests.nas.small_search import BUDGET, SPACE

STALENESS, TRIALS = 4, 36


@cache
def band() -> ArchitectureBand:
    return ArchitectureBand(parse_space(SPACE, "tiny"), budget())


def budget() -> Budget:
    return parse_budget(BUDGET, floor=0.5)


def opened(storage: str, sampler: str) -> ArchitectureStudy:
    objectives = objectives_of(["accuracy"], budget())
    return ArchitectureStudy(storage, "search", band(), budget(), objectives, sampler, seed=7, staleness=STALENESS)


def score(proposal: Proposal) -> Score:
    """A score that depends on the architecture's fingerprint alone."""
    value = zlib.crc32(proposal.architecture.fingerprint.encode()) / 2**32
    return Score(value, 0.01, value - 1, 0.01, 100)


def searched(storage: str, sampler: str, workers: int, rng: random.Random, accidents: float = 0.0) -> list[str]:
    """Fingerprints in the order of their proposals. Workers finish in any order, and the process may be lost with its running trials.

    Args:
        accidents: share of steps at which it is lost.
    """
    study = opened(storage, sampler)
    running: list[Proposal] = []
    while study.num_results < TRIALS:
        while len(running) < workers and (asked := study.ask(TRIALS)) is not None:
            running.append(asked)
        proposal = running.pop(rng.randrange(len(running)))
        if rng.random() >= accidents:
            study.tell(proposal, score(proposal), 0.1)
        else:
            study, running = opened(storage, sampler), []
    results = study.results()
    assert len(results) == TRIALS
    return [result.architecture.fingerprint for result in sorted(results, key=lambda result: result.index)]


@pytest.mark.parametrize("sampler", sampler_names())
def test_workers_and_interruptions_change_no_proposal(sampler: str, tmp_path: Path) -> None:
    alone = searched(f"sqlite:///{tmp_path / 'alone.db'}", sampler, 1, random.Random(0))
    for number, (workers, accidents) in enumerate([(STALENESS, 0.0), (3, 0.15)]):
        assert searched(f"sqlite:///{tmp_path / f'{number}.db'}", sampler, workers, random.Random(number), accidents) == alone
    assert len(set(alone)) == TRIALS


def test_a_proposal_waits_for_the_trials_that_it_depends_on(tmp_path: Path) -> None:
    study = opened(f"sqlite:///{tmp_path / 'study.db'}", "random")
    first, *others = [asked(study) for _ in range(STALENESS)]
    assert study.ask(TRIALS) is None
    for proposal in others:
        study.tell(proposal, score(proposal), 0.1)
    assert study.ask(TRIALS) is None
    study = opened(f"sqlite:///{tmp_path / 'study.db'}", "random")
    # The first one was interrupted, and is repeated.
    again = asked(study)
    assert again.architecture == first.architecture
    assert study.ask(TRIALS) is None
    study.tell(again, score(again), 0.1)
    assert asked(study).index == STALENESS


def test_no_more_proposals_are_given_out_than_results_are_wanted(tmp_path: Path) -> None:
    study = opened(f"sqlite:///{tmp_path / 'study.db'}", "random")
    first, second = (asked(study, 2) for _ in range(2))
    assert study.ask(2) is None
    study.tell(first, score(first), 0.1)
    assert study.ask(2) is None
    study.fail(second, "of an accident")
    assert asked(study, 2).index == 2


def test_a_failed_proposal_is_not_repeated(tmp_path: Path) -> None:
    study = opened(f"sqlite:///{tmp_path / 'study.db'}", "random")
    first = asked(study)
    study.fail(first, "of an accident")
    second = asked(study)
    assert (second.index, second.architecture != first.architecture) == (1, True)
    study.tell(second, score(second), 0.1)
    assert study.summary().failures == {first.number: "of an accident"}
    # Nor if the search is continued.
    third = asked(opened(f"sqlite:///{tmp_path / 'study.db'}", "random"))
    assert (third.index, third.architecture != first.architecture) == (2, True)


def test_a_failure_changes_no_other_proposal(tmp_path: Path) -> None:
    """With random draws; a model learns from one trial less."""
    studies = [opened(f"journal:{tmp_path / name}", "random") for name in ("failing", "whole")]
    sequences: list[list[str]] = []
    for study in studies:
        proposals = []
        for index in range(8):
            proposals.append(asked(study))
            if study is studies[0] and index == 3:
                study.fail(proposals[-1], "of an accident")
            else:
                study.tell(proposals[-1], score(proposals[-1]), 0.1)
        sequences.append([proposal.architecture.fingerprint for proposal in proposals])
    assert sequences[0] == sequences[1]


def test_a_proposal_that_is_always_interrupted_is_given_up(tmp_path: Path) -> None:
    url = f"journal:{tmp_path / 'study.journal'}"
    first = asked(opened(url, "random"))
    for _ in range(MAX_INTERRUPTIONS - 1):
        assert asked(opened(url, "random")).architecture == first.architecture
    study = opened(url, "random")
    assert asked(study).architecture != first.architecture
    assert study.summary().num_interrupted == MAX_INTERRUPTIONS
    assert not study.summary().failures


def asked(study: ArchitectureStudy, num_results: int = TRIALS) -> Proposal:
    proposal = study.ask(num_results)
    assert proposal is not None
    return proposal
