"""One evaluation after the other, in this process."""

from __future__ import annotations

import time

from nas.backends import MakeEvaluator, OnResult, Stop
from nas.evaluator import Evaluator
from nas.samplers import SpaceExhausted
from nas.standalone import threads
from nas.study import ArchitectureStudy


def run_local(
    study: ArchitectureStudy, make_evaluator: MakeEvaluator, stop: Stop, on_result: OnResult, cpus: int | None = None
) -> None:
    """Evaluate proposals here until `stop`.

    Args:
        cpus: threads of an evaluation; by default as many as torch takes.
    """
    with threads(cpus):
        _evaluate(study, make_evaluator(), stop, on_result)


def _evaluate(study: ArchitectureStudy, evaluator: Evaluator, stop: Stop, on_result: OnResult) -> None:
    while study.num_results < stop.num_results and not stop.is_late():
        try:
            proposal = study.ask()
        except SpaceExhausted:
            return
        start = time.perf_counter()
        score = evaluator(proposal.architecture)
        on_result(study.tell(proposal, score, time.perf_counter() - start))
