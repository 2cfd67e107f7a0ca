"""Where studies live: Optuna's own storages on SQLite, a journal file or PostgreSQL, and the turns that processes take on one of them."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
        turns: a file's lock, or the server that holds one.
    """

    optuna: BaseStorage
    turns: FileLock | sqlalchemy.Engine

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other process has its turn on this storage, then have it; a process that dies loses it."""
        if isinstance(self.turns, FileLock):
            with self.turns:
                yield
            return
        with self.turns.begin() as connection:
            # Ends with the transaction, and that with the connection.
            connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
            yield


def open_storage(url: str) -> Storage:
    """Open a storage, and create its file or tables where there are none; StorageError says in one line why not."""
    url = checked_url(url)
    with told(url):
        file = file_of(url)
        if file is None:
            # By name: which driver is SQLAlchemy's default depends on its version.
            address = url.replace(POSTGRESQL, "postgresql+psycopg://", 1)
            turns: FileLock | sqlalchemy.Engine = sqlalchemy.create_engine(address)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            # Not with `.lock` alone: Optuna's own lock of a journal, which its dashboard takes to write, is called that.
            turns = FileLock(f"{file}.turn.lock")
        with Storage(optuna.storages.InMemoryStorage(), turns).turn():
            if file is None:
                return Storage(_database(address, pool_pre_ping=True), turns)
            if url.startswith(JOURNAL):
                return Storage(_journal(file), turns)
            return Storage(_database(url, connect_args={"timeout": WAIT_SECONDS}), turns)


@contextmanager
def told(url: str) -> Iterator[None]:
    """Turn what a storage raises, because it cannot be opened, reached, read or written, into one line."""
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


def _database(address: str, **engine: object) -> BaseStorage:
    # As Optuna itself opens it for a study: finished trials are read once.
    return get_storage(RDBStorage(address, engine_kwargs=engine))


def _journal(file: Path) -> BaseStorage:
    backend = JournalFileBackend(str(file), _JournalLock(file))
    try:
        with file.open("rb") as lines:
            if lines.read(1) not in (b"", b"{"):
                raise ValueError("not JSON")
        return JournalStorage(backend)
    except (AssertionError, LookupError, TypeError, ValueError) as error:
        told = f"{type(error).__name__}: {_first_line(error)}"
        raise StorageError(f"storage: {file}: got something else ({told}), expected a journal of Optuna's; choose another file") from None


class _JournalLock(JournalFileOpenLock):
    """Who appends to a journal. It ends with the process that holds it; Optuna's own locks outlive one that is killed by half a minute.

    Whoever takes it removes the half line that a writer may have left, killed or on a full disk: nothing behind it could be read.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(str(file))
        self._file = file
        self._held = FileLock(f"{file}.append.lock")

    def acquire(self) -> bool:
        self._held.acquire()
        _remove_half_line(self._file)
        return True

    def release(self) -> None:
        self._held.release()


def _remove_half_line(file: Path) -> None:
    """Cut a file behind its last whole line."""
    with file.open("r+b") as journal:
        size = journal.seek(0, os.SEEK_END)
        if not size:
            return
        journal.seek(size - 1)
        if journal.read(1) != b"\n":
            journal.seek(0)
            journal.truncate(journal.read().rfind(b"\n") + 1)
