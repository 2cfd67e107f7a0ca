"""Where studies are stored: Optuna's own storages on SQLite, a journal file or PostgreSQL, and a lock between processes for each."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy.exc import SQLAlchemyError

from nas.runs.storage_url import JOURNAL, POSTGRESQL, StorageError, checked_url, file_of, without_password

WAIT_SECONDS = 60.0
"""How long a process waits for others that write to the same SQLite file."""
LOCK_KEY = zlib.crc32(b"token-mixer-nas")
"""Key of a PostgreSQL server's advisory lock, one a database."""


@dataclass(frozen=True)
class Storage:
    """An open storage.

    Args:
        optuna: as Optuna uses it.
        lock: waits until no other process holds the storage's lock, and holds it. A process that dies loses it.
    """

    optuna: BaseStorage
    lock: Callable[[], AbstractContextManager[Any]]


def open_storage(url: str) -> Storage:
    """Open a storage, and create its file or tables if there are none; StorageError says in one line why not."""
    url = checked_url(url)
    with storage_errors(url):
        file = file_of(url)
        if file is None:
            # The driver is named, since SQLAlchemy's default depends on its version.
            address = url.replace(POSTGRESQL, "postgresql+psycopg://", 1)
            lock: Callable[[], AbstractContextManager[Any]] = partial(_advisory_lock, sqlalchemy.create_engine(address))
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            # Not `.lock` alone: that is the name of Optuna's own lock of a journal, which its dashboard takes to write.
            file_lock = FileLock(f"{file}.turn.lock")
            lock = partial(file_lock.acquire)
        with lock():
            if file is None:
                return Storage(_database(address, pool_pre_ping=True), lock)
            if url.startswith(JOURNAL):
                return Storage(_journal(file), lock)
            return Storage(_database(url, connect_args={"timeout": WAIT_SECONDS}), lock)


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn what a storage raises, because it cannot be opened, reached, read or written, into a StorageError of one line."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    where = f"storage: {without_password(url)}"
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        raise StorageError(f"{where}: {_first_line(getattr(cause, 'orig', None) or cause)}") from None
    except ModuleNotFoundError as error:
        raise StorageError(f"{where}: got no package {error.name}, expected it: pip install 'token-mixer-nas[postgresql]'") from None


def _first_line(error: BaseException) -> str:
    return f"{(str(error) or type(error).__name__).splitlines()[0]:.200}"


@contextmanager
def _advisory_lock(engine: sqlalchemy.Engine) -> Iterator[None]:
    with engine.begin() as connection:
        # The lock ends with the transaction, and that with the connection.
        connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        yield


def _database(address: str, **engine: object) -> BaseStorage:
    # `get_storage` adds the cache that Optuna's own studies use: finished trials are read once.
    return get_storage(RDBStorage(address, engine_kwargs=engine))


def _journal(file: Path) -> BaseStorage:
    backend = JournalFileBackend(str(file), _JournalLock(file))
    try:
        with file.open("rb") as lines:
            if lines.read(1) not in (b"", b"{"):
                raise ValueError("not JSON")
        return JournalStorage(backend)
    except (AssertionError, LookupError, TypeError, ValueError) as error:
        found = f"{type(error).__name__}: {_first_line(error)}"
        raise StorageError(f"storage: {file}: got something else ({found}), expected a journal of Optuna's; choose another file") from None


class _JournalLock(JournalFileOpenLock):
    """Held by a process that appends to a journal. The operating system frees it when the process ends, however it ends.

    Optuna's own locks outlive a killed process by half a minute. Besides, this one removes an incomplete last line, which a killed
    writer or a full disk leaves: nothing after it could be read.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(str(file))
        self._file = file
        self._held = FileLock(f"{file}.append.lock")

    def acquire(self) -> bool:
        self._held.acquire()
        _remove_incomplete_line(self._file)
        return True

    def release(self) -> None:
        self._held.release()


def _remove_incomplete_line(file: Path) -> None:
    with file.open("r+b") as journal:
        size = journal.seek(0, os.SEEK_END)
        if not size:
            return
        journal.seek(size - 1)
        if journal.read(1) != b"\n":
            journal.seek(0)
            journal.truncate(journal.read().rfind(b"\n") + 1)
