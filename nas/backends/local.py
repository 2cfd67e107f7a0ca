"""Evaluations on this machine: in this process, or in several of its own, one evaluation at a time in each."""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing import connection
from typing import Protocol

from nas.backends import MakeEvaluator, OnResult, Stop, Workers
from nas.evaluator import Evaluator
from nas.samplers import SpaceExhausted
from nas.standalone import threads
from nas.study import ArchitectureStudy, Proposal
from space.architecture import Architecture
from space.errors import UserError
from supernet.accuracy import Score

POLL = 0.25
"""Seconds between two looks at a study in which other processes evaluate too."""
LOST = "its process was killed, perhaps for want of memory"


def run_local(study: ArchitectureStudy, make_evaluator: MakeEvaluator, stop: Stop, on_result: OnResult, workers: Workers) -> None:
    """Evaluate proposals here until `stop`. One worker is this process itself; several are processes that end with it."""
    with ExitStack() as stack:
        if workers.num_workers == 1:
            stack.enter_context(threads(workers.cpus))
            all_workers: list[_Worker] = [_Here(make_evaluator())]
        else:
            processes = [_Process(make_evaluator, workers.cpus) for _ in range(workers.num_workers)]
            for process in processes:
                stack.callback(process.end)
            all_workers = [*processes]
        _evaluate(study, all_workers, stop, on_result)


def _evaluate(study: ArchitectureStudy, workers: list[_Worker], stop: Stop, on_result: OnResult) -> None:
    idle, busy = list(workers), dict[_Worker, Proposal]()
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
                study.give_back(proposal, LOST)
                continue
            result = study.tell(proposal, score, seconds)
            if result is not None:
                on_result(result)


def _finished(busy: Sequence[_Worker], wait: float | None) -> list[_Worker]:
    """Those of the workers that have finished; waits for one at the most so many seconds, with None as long as it takes."""
    if not (done := [worker for worker in busy if worker.has_finished()]):
        processes = [worker.connection for worker in busy if isinstance(worker, _Process)]
        # Waiting for no connection at all would return at once.
        if processes:
            connection.wait(processes, wait)
        else:
            time.sleep(wait or 0)
        done = [worker for worker in busy if worker.has_finished()]
    return done


class WorkerLost(Exception):
    """A worker that was evaluating is no more."""


class _Worker(Protocol):
    def begin(self, architecture: Architecture) -> None: ...

    def has_finished(self) -> bool: ...

    def result(self) -> tuple[Score, float]:
        """What the evaluation came to, and the seconds that it took; WorkerLost where it never ends."""


class _Here:
    """This process."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def begin(self, architecture: Architecture) -> None:
        self._architecture = architecture

    def has_finished(self) -> bool:
        return True

    def result(self) -> tuple[Score, float]:
        return _timed(self._evaluator, self._architecture)


class _Process:
    """A process of its own, which makes its evaluator once. Killed, it is started again."""

    def __init__(self, make_evaluator: MakeEvaluator, cpus: int) -> None:
        self._make_evaluator = make_evaluator
        self._cpus = cpus
        self._start()

    def _start(self) -> None:
        # Not forked from this process, whose threads would be missing; and imports are done once for all.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["nas.evaluator"])
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._make_evaluator, self._cpus), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, architecture: Architecture) -> None:
        try:
            self.connection.send(architecture)
        except OSError:
            # It was killed while it was idle: that is no fault of what it has evaluated or will.
            self._start()
            self.connection.send(architecture)

    def has_finished(self) -> bool:
        return self.connection.poll()

    def result(self) -> tuple[Score, float]:
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            self.end()
            self._start()
            raise WorkerLost from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(theirs: connection.Connection, make_evaluator: MakeEvaluator, cpus: int) -> None:
    """Evaluate what comes, until the other side is no more."""
    # Ctrl-C reaches all processes of a terminal; the first of them ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    evaluator = None
    answer: tuple[Score, float] | Exception
    with threads(cpus):
        while True:
            try:
                architecture = theirs.recv()
            except EOFError:
                return
            try:
                evaluator = evaluator or make_evaluator()
                answer = _timed(evaluator, architecture)
            except UserError as error:
                answer = error
            except Exception:
                answer = RuntimeError(f"in a worker:\n{traceback.format_exc()}")
            try:
                theirs.send(answer)
            except OSError:
                return


def _timed(evaluator: Evaluator, architecture: Architecture) -> tuple[Score, float]:
    start = time.perf_counter()
    score = evaluator(architecture)
    return score, time.perf_counter() - start
