"""Signs of life that the processes of one study leave in it: those of another host cannot be looked up there."""

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
"""Between two signs of life."""
GRACE_SECONDS = 90.0
"""A process that gives no sign for so long is taken for dead."""


class Heartbeat:
    """Gives signs of life, and watches those of others.

    Args:
        storage, study_id: where the study is.
        grace_seconds: after which an owner on another host is taken for dead, counted from the first look at it.
    """

    def __init__(self, storage: BaseStorage, study_id: int, grace_seconds: float = GRACE_SECONDS) -> None:
        self._storage = storage
        self._study_id = study_id
        self._grace_seconds = grace_seconds
        self._last: dict[ProcessId, tuple[object, float]] = {}

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Give a sign now and then, until the end."""
        ended = threading.Event()

        def beat() -> None:
            signs = 0
            # What keeps a sign from being written keeps the search from writing too, and that says so.
            with suppress(SQLAlchemyError, StorageInternalError, OSError):
                while True:
                    self._storage.set_study_user_attr(self._study_id, _key(this_process_id()), signs)
                    signs += 1
                    if ended.wait(INTERVAL_SECONDS):
                        return

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def is_dead(self, owner: ProcessId) -> bool:
        """Whether an owner has ended, as this host's processes tell, or another host's signs of life that have stopped changing."""
        alive = is_alive(owner)
        if alive is not None:
            return not alive
        sign, now = self._storage.get_study_user_attrs(self._study_id).get(_key(owner)), time.monotonic()
        seen, since = self._last.setdefault(owner, (sign, now))
        if sign != seen:
            self._last[owner] = sign, now
            return False
        return now - since > self._grace_seconds


def _key(owner: ProcessId) -> str:
    return f"alive:{owner.host}:{owner.pid}:{owner.started}"
