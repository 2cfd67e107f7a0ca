"""URLs of the storages that a study may live in."""

from __future__ import annotations

import re
from pathlib import Path

from space.errors import UserError

SQLITE, JOURNAL, POSTGRESQL = "sqlite:///", "journal:", "postgresql://"


class StorageError(UserError):
    """A storage that cannot be named, opened, reached, read or written."""


def checked_url(url: str) -> str:
    """The URL, with a file in it as an absolute path; StorageError where it is of no kind that is known."""
    for kind in (SQLITE, JOURNAL):
        if url.startswith(kind) and len(url) > len(kind):
            return f"{kind}{Path(url.removeprefix(kind)).absolute()}"
    if url.startswith(POSTGRESQL):
        return url
    expected = f"{SQLITE}FILE, {JOURNAL}FILE or {POSTGRESQL}USER@HOST/DATABASE"
    raise StorageError(f"storage: got {without_password(url)!r}, expected {expected}")


def journal_url(folder: Path) -> str:
    """The journal that holds a run's study by default."""
    return f"{JOURNAL}{folder.absolute() / 'study.journal'}"


def file_of(url: str) -> Path | None:
    """The file of a checked URL; none where a server holds the study."""
    return next((Path(url.removeprefix(kind)) for kind in (SQLITE, JOURNAL) if url.startswith(kind)), None)


def without_password(url: str) -> str:
    """The URL as it may be shown and written down; PostgreSQL's clients look for its password in PGPASSWORD and ~/.pgpass."""
    return re.sub(r"(://[^/:@]*):[^/]*@", r"\1@", url)


def for_dashboard(url: str) -> str:
    """What `optuna-dashboard` takes for the storage."""
    return without_password(url.removeprefix(JOURNAL))
