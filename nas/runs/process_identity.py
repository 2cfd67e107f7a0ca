"""Who holds something: a record that other processes can read, and check, after its owner was killed.

The number of a process alone proves nothing, since numbers are used again. With the time when the process started it
names one process of a machine.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import lru_cache

import psutil

SAME_START_SECONDS = 2.0
"""Two readings of one process's start differ by less, two processes of the same number by more."""


@dataclass(frozen=True)
class Owner:
    """A process of a machine.

    Args:
        host: name of the machine, or of the container.
        process: its number there.
        started: when, in seconds after the machine's own start: a clock that is set meanwhile does not change that.
    """

    host: str
    process: int
    started: float


def this_process() -> Owner:
    """The process that asks."""
    return _owner(os.getpid())


@lru_cache(maxsize=1)
def _owner(process: int) -> Owner:
    # A forked process has a number of its own.
    return Owner(platform.node(), process, _started(psutil.Process(process)))


def is_alive(owner: Owner) -> bool | None:
    """Whether an owner still runs; None where it cannot be told, since it ran on another host."""
    if owner.host != platform.node():
        return None
    try:
        process = psutil.Process(owner.process)
        # A zombie was killed; it waits for its parent to read how it ended.
        ended = process.status() == psutil.STATUS_ZOMBIE
        return not ended and abs(_started(process) - owner.started) < SAME_START_SECONDS
    except psutil.NoSuchProcess:
        return False


def _started(process: psutil.Process) -> float:
    return round(process.create_time() - psutil.boot_time(), 2)
