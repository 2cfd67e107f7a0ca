"""A directory in which one command at a time writes.

The kernel holds the lock, on the file `run.lock`, and frees it when the process ends, however that ends. The file tells
others who the holder is. Where a file system knows no locks, that record alone counts.
"""

from __future__ import annotations

import errno
import json
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from nas.runs.process_identity import Owner, is_alive, this_process
from space.errors import UserError

LOCK = "run.lock"
KNOWS_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})


class InUseError(UserError):
    """A directory in which another command writes."""


@dataclass(frozen=True)
class Holder:
    """Who writes in a directory: a process, the command that it runs, and since when, by its clock."""

    owner: Owner
    command: str
    since: str


_HOLDER = TypeAdapter(Holder)


def lock(folder: Path) -> ExitStack:
    """Lock a directory that exists until the stack that comes back is closed, or the process ends.

    Raises:
        InUseError: another command holds it.
    """
    file = folder / LOCK
    with ExitStack() as held:
        is_sure = True
        try:
            held.enter_context(FileLock(file, timeout=0, preserve_lock_file=True))
        except Timeout:
            raise InUseError(f"{folder}: in use by {_in_words(holder_of(folder))}; wait for it or choose another directory") from None
        except OSError as error:
            if error.errno not in KNOWS_NO_LOCKS:
                raise
            is_sure = False
        holder = holder_of(folder)
        if holder is not None and holder.owner != this_process():
            lives = is_alive(holder.owner)
            # Of a process on another host the kernel knows more than we do, if it knows locks at all.
            if lives or (lives is None and not is_sure):
                hint = "wait for it or choose another directory" if lives else f"if it has ended, delete {file}"
                raise InUseError(f"{folder}: in use by {_in_words(holder)}; {hint}")
        ours = Holder(this_process(), _command(), time.strftime("%Y-%m-%d %H:%M"))
        file.write_text(json.dumps(asdict(ours)) + "\n")
        held.callback(_clear, folder)
        return held.pop_all()


def holder_of(folder: Path) -> Holder | None:
    """Who is on record in a directory, or was when it was killed; none where nobody is, or just being written."""
    with suppress(FileNotFoundError, ValidationError):
        return _HOLDER.validate_json((folder / LOCK).read_bytes())
    return None


def _clear(folder: Path) -> None:
    holder = holder_of(folder)
    # Somebody may have deleted the directory, and another command begun a new one.
    if holder is not None and holder.owner == this_process():
        (folder / LOCK).write_bytes(b"")


def _in_words(holder: Holder | None) -> str:
    if holder is None:
        return "another process"
    return f"process {holder.owner.process} on {holder.owner.host} since {holder.since} ({holder.command})"


def _command() -> str:
    """Such as `nas.search`."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec is not None else Path(sys.argv[0]).name
