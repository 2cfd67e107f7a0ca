"""Where studies live: SQLite, a journal file or PostgreSQL, and the turns that several processes take on one of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from nas.runs.storage_url import JOURNAL, POSTGRESQL, StorageError, checked, file_of, without_password
from nas.study.database import Database

PATIENCE = 60.0
"""Seconds that a process waits for others that write to the same SQLite file."""
LOCK = zlib.crc32(b"token-mixer-nas")
"""Number of a PostgreSQL server's lock, one a database."""


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
            connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            yield

    def end_trial(self, trial_id: int, attributes: Mapping[str, Any], state: TrialState, values: Sequence[float] | None = None) -> None:
        """Give a trial its last user attributes, then its values and its state.

        Raises:
            optuna.exceptions.UpdateFinishedTrialError: it has ended already.
        """
        if isinstance(self.optuna, Database):
            self.optuna.end_trial(trial_id, attributes, state, values)
            return
        for key, value in attributes.items():
            self.optuna.set_trial_user_attr(trial_id, key, value)
        self.optuna.set_trial_state_values(trial_id, state, values)


def open_storage(url: str) -> Storage:
    """Open a storage, and create its file or tables where there are none; StorageError says in one line why not."""
    url = checked(url)
    with told(url):
        file = file_of(url)
        if file is None:
            # By name: which driver is SQLAlchemy's default depends on its version.
            address = url.replace(POSTGRESQL, "postgresql+psycopg://", 1)
            turns: FileLock | sqlalchemy.Engine = sqlalchemy.create_engine(address)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            turns = FileLock(f"{file}.lock")
        with Storage(optuna.storages.InMemoryStorage(), turns).turn():
            if file is None:
                return Storage(Database(address, engine_kwargs={"pool_pre_ping": True}), turns)
            if not url.startswith(JOURNAL):
                return Storage(Database(url, engine_kwargs={"connect_args": {"timeout": PATIENCE}}), turns)
            _forget_half_a_line(file)
            return Storage(JournalStorage(JournalFileBackend(str(file), _JournalLock(f"{file}.append.lock"))), turns)


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


class _JournalLock(BaseJournalFileLock):
    """Who appends to a journal. Nobody has to wait for a process that was killed, unlike with Optuna's own locks."""

    def __init__(self, path: str) -> None:
        self._lock = FileLock(path)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


def _forget_half_a_line(file: Path) -> None:
    """Where the disk was full as a line was appended, a part of it stands there, behind which nothing can be read."""
    if not file.exists():
        return
    with file.open("r+b") as journal:
        content = journal.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            journal.truncate(whole)
