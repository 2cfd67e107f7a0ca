"""Heartbeats of the processes that use a study. The study stores them, since it is all that processes on several hosts share."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from sqlalchemy.exc import SQLAlchemyError

from nas.runs.process_id import ProcessId, is_alive, this_process_id

INTERVAL_SECONDS = 15.0
GRACE_SECONDS = 90.0
"""A process without a heartbeat for so long is taken for dead."""


class Heartbeat:
    """Sends this process's heartbeats, and watches those of others.

    Args:
        storage, study_id: where the study is.
        grace_seconds: after which a process on another host is taken for dead, counted from the first time that it is asked about.
    """

    def __init__(self, storage: BaseStorage, study_id: int, grace_seconds: float = GRACE_SECONDS) -> None:
        self._storage = storage
        self._study_id = study_id
        self._grace_seconds = grace_seconds
        # By process, its last heartbeat, and when that was first seen.
        self._seen: dict[ProcessId, tuple[object, float]] = {}

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Send heartbeats until the end."""
        ended = threading.Event()

        def beat() -> None:
            number = 0
            # If no heartbeat can be written, neither can the search write its trials, and that is reported.
            with suppress(SQLAlchemyError, StorageInternalError, OSError):
                while not number or not ended.wait(INTERVAL_SECONDS):
                    self._storage.set_study_user_attr(self._study_id, _key(this_process_id()), number)
                    number += 1

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def is_dead(self, process_id: ProcessId) -> bool:
        """Whether a process has ended: on this host as the operating system says, on others if its heartbeats have stopped."""
        alive = is_alive(process_id)
        if alive is not None:
            return not alive
        last, now = self._storage.get_study_user_attrs(self._study_id).get(_key(process_id)), time.monotonic()
        seen, since = self._seen.setdefault(process_id, (last, now))
        if last != seen:
            self._seen[process_id] = last, now
            return False
        return now - since > self._grace_seconds


def _key(process_id: ProcessId) -> str:
    return f"heartbeat:{process_id.host}:{process_id.pid}:{process_id.started}"
