"""The workers of this machine: the search's own process, or several others. Nothing here knows of studies, so that they start soon."""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
from multiprocessing import connection
from typing import Protocol

from nas.evaluators.standalone import threads
from nas.evaluators.supernet import Evaluator
from nas.execution import MakeEvaluator
from space.architecture import Architecture
from space.errors import UserError
from supernet.accuracy import Score


class WorkerLost(Exception):
    """A worker that was evaluating is no more."""


class Worker(Protocol):
    """Evaluates one architecture at a time."""

    def begin(self, architecture: Architecture) -> None: ...

    def has_finished(self) -> bool: ...

    def result(self) -> tuple[Score, float]:
        """What the evaluation came to, and the seconds that it took; WorkerLost where it never ends."""


class Here:
    """This process."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def begin(self, architecture: Architecture) -> None:
        self._architecture = architecture

    def has_finished(self) -> bool:
        return True

    def result(self) -> tuple[Score, float]:
        return _timed(self._evaluator, self._architecture)


class Process:
    """A process of its own, which makes its evaluator once. Killed, it is started again."""

    def __init__(self, make_evaluator: MakeEvaluator, cpus: int) -> None:
        self._make_evaluator = make_evaluator
        self._cpus = cpus
        self._start()

    def _start(self) -> None:
        # Not forked from this process, whose threads would be missing; and imports are done once for all.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
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
