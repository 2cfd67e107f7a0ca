"""The identity of a process, as other processes can read it and check it, also after the process was killed.

A process number alone proves nothing, since numbers are used again. Together with the time at which the process started it names one
process of a machine.
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
class ProcessId:
    """A process of a machine.

    Args:
        host: name of the machine, or of the container.
        pid: its number there.
        started: seconds after the machine's own start, which do not change when the clock is set.
    """

    host: str
    pid: int
    started: float


def this_process_id() -> ProcessId:
    """That of the process that asks."""
    # A forked process has a number of its own.
    return _process_id(os.getpid())


@lru_cache(maxsize=1)
def _process_id(pid: int) -> ProcessId:
    return ProcessId(platform.node(), pid, _started(psutil.Process(pid)))


def is_alive(process_id: ProcessId) -> bool | None:
    """Whether a process still runs; None for one of another host, about which this host knows nothing."""
    if process_id.host != platform.node():
        return None
    try:
        process = psutil.Process(process_id.pid)
        # A zombie was killed; it waits for its parent to read how it ended.
        ended = process.status() == psutil.STATUS_ZOMBIE
        return not ended and abs(_started(process) - process_id.started) < SAME_START_SECONDS
    except psutil.NoSuchProcess:
        return False


def _started(process: psutil.Process) -> float:
    return round(process.create_time() - psutil.boot_time(), 2)
