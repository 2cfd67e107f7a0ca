"""Commands in a process of their own, run to their end or killed with SIGKILL on the way.

Python with torch takes seconds to start. A server that has imported it forks in a moment.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from functools import cache
from multiprocessing import forkserver
from pathlib import Path

Command = Callable[[Sequence[str]], int]

PRELOAD = [
    "torch", "timm.data", "timm.optim", "timm.scheduler", "optuna", "rich.progress", "nas.retrain.retraining",
    "nas.search.finish", "nas.compare.pipeline", "nas.audit.analysis", "nas.audit.predictors",
]  # fmt: skip
LIMIT_SECONDS = 200.0
"""A command that takes longer hangs."""
POLL_SECONDS = 0.005
_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload(PRELOAD)


def run_whole(main: Command, argv: Sequence[str]) -> float:
    """Run a command to its end, which must be a good one; the seconds that it took."""
    start = time.perf_counter()
    assert not run_killed(main, argv, LIMIT_SECONDS), f"{argv}: ran for more than {LIMIT_SECONDS:g} s"
    return time.perf_counter() - start


def run_killed(main: Command, argv: Sequence[str], after_seconds: float, has_begun: Callable[[], bool] = lambda: True) -> bool:
    """Run a command and kill it after a time; False where it had come to a good end before that.

    Args:
        has_begun: from when it holds that time counts.
    """
    with running(main, argv) as (process, output):
        while process.is_alive() and not has_begun():
            time.sleep(POLL_SECONDS)
        process.join(after_seconds)
        is_killed = process.is_alive()
        assert is_killed or process.exitcode == 0, f"{argv}: ended with {process.exitcode}:\n{output.read_text()}"
    return is_killed


@contextmanager
def running(main: Command, argv: Sequence[str]) -> Iterator[tuple[multiprocessing.process.BaseProcess, Path]]:
    """A command that is running, and the file that it prints to; killed in the end, if it has not come to its own."""
    _start_server()
    with tempfile.NamedTemporaryFile() as output:
        process = _forking.Process(target=_run, args=(main, list(argv), output.name))
        process.start()
        try:
            yield process, Path(output.name)
        finally:
            process.kill()
            process.join()


def moments(count: int, seconds: float, seed: int) -> Iterator[float]:
    """Times at which to kill a command that takes so many seconds: one at random in each of `count` equal parts, in random order."""
    rng = random.Random(seed)
    parts = list(range(count))
    rng.shuffle(parts)
    return ((part + rng.random()) / count * seconds for part in parts)


@cache
def _start_server() -> None:
    """Start the server and wait until it has imported everything: a command's time does not begin before."""
    with chdir(Path(__file__).parent.parent):
        # Here it finds the packages under test.
        forkserver.ensure_running()
    first = _forking.Process(target=os.getpid)
    first.start()
    first.join()


def _run(main: Command, argv: list[str], output: str) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    import torch

    torch.set_num_threads(1)
    sys.exit(main(argv))
