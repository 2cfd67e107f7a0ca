"""A search's study as a source of jobs: a job evaluates a proposal, and the study gets its score."""

from __future__ import annotations

from collections.abc import Callable

from nas.execution.jobs import Failure, Job
from nas.samplers.in_band import SpaceExhausted
from nas.study.architecture_study import ArchitectureStudy
from nas.study.record import Proposal, Result
from space.architecture import Architecture
from supernet.score import Score


class Proposals:
    """Proposals, until the study has enough results from whichever process, or the band has no new architecture.

    Args:
        num_results: of the study in all.
        on_result: called after each evaluation that was done for this process.
    """

    def __init__(self, study: ArchitectureStudy, num_results: int, on_result: Callable[[Result], None]) -> None:
        self._study, self._num_results, self._on_result = study, num_results, on_result
        self._under_way: dict[int, Proposal] = {}
        self._is_exhausted = False

    def next(self) -> Job[Architecture] | None:
        try:
            proposal = self._study.ask(self._num_results)
        except SpaceExhausted:
            proposal = None
            # For now: another process's evaluations may be interrupted, and are then proposed again.
            self._is_exhausted = not self._under_way
        if proposal is None:
            return None
        self._under_way[proposal.number] = proposal
        return Job(proposal.number, f"trial {proposal.number}", proposal.architecture)

    @property
    def is_finished(self) -> bool:
        return self._is_exhausted or self._study.num_results >= self._num_results

    def finish(self, key: int, outcome: Score, seconds: float) -> None:
        result = self._study.tell(self._under_way.pop(key), outcome, seconds)
        if result is not None:
            self._on_result(result)

    def fail(self, key: int, failure: Failure) -> None:
        self._study.fail(self._under_way.pop(key), failure.reason)
