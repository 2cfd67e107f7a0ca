"""Evaluations on this machine: in this process, or in several of its own, one evaluation at a time in each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing import connection

from nas.evaluators.standalone import threads
from nas.execution import MakeEvaluator, OnResult, Stop, Workers
from nas.execution.workers import Here, Process, Worker, WorkerLost
from nas.samplers.in_band import SpaceExhausted
from nas.study.architecture_study import ArchitectureStudy
from nas.study.record import Proposal

POLL = 0.25
"""Seconds between two looks at a study in which other processes evaluate too."""
LOST = "its process was killed, perhaps for want of memory"


def run_local(study: ArchitectureStudy, make_evaluator: MakeEvaluator, stop: Stop, on_result: OnResult, workers: Workers) -> None:
    """Evaluate proposals here until `stop`. One worker is this process itself; several are processes that end with it."""
    with ExitStack() as stack:
        if workers.num_workers == 1:
            stack.enter_context(threads(workers.cpus))
            all_workers: list[Worker] = [Here(make_evaluator())]
        else:
            processes = [Process(make_evaluator, workers.cpus) for _ in range(workers.num_workers)]
            for process in processes:
                stack.callback(process.end)
            all_workers = [*processes]
        _evaluate(study, all_workers, stop, on_result)


def _evaluate(study: ArchitectureStudy, workers: list[Worker], stop: Stop, on_result: OnResult) -> None:
    idle, busy = list(workers), dict[Worker, Proposal]()
    while True:
        while idle and not stop.is_late():
            try:
                proposal = study.ask(stop.num_results)
            except SpaceExhausted:
                if not busy:
                    return
                break
            if proposal is None:
                break
            worker = idle.pop()
            busy[worker] = proposal
            worker.begin(proposal.architecture)
        if not busy and (stop.is_late() or study.num_results >= stop.num_results):
            return
        for worker in _finished([*busy], wait=None if busy and not idle else POLL):
            proposal = busy.pop(worker)
            idle.append(worker)
            try:
                score, seconds = worker.result()
            except WorkerLost:
                study.fail(proposal, LOST)
                continue
            result = study.tell(proposal, score, seconds)
            if result is not None:
                on_result(result)


def _finished(busy: Sequence[Worker], wait: float | None) -> list[Worker]:
    """Those of the workers that have finished; waits for one at the most so many seconds, with None as long as it takes."""
    if not (done := [worker for worker in busy if worker.has_finished()]):
        processes = [worker.connection for worker in busy if isinstance(worker, Process)]
        # Waiting for no connection at all would return at once.
        if processes:
            connection.wait(processes, wait)
        else:
            time.sleep(wait or 0)
        done = [worker for worker in busy if worker.has_finished()]
    return done
