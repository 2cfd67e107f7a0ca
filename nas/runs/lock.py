"""A lock on a directory: one command at a time writes there.

The kernel holds the lock, on the file `run.lock`, and frees it when the process ends, however that ends. The file's content says who
holds it. On a file system without locks, that content alone decides.
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

from nas.runs.process_id import ProcessId, is_alive, this_process_id
from space.errors import UserError

LOCK = "run.lock"
NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})
"""What a file system without locks answers."""


class InUseError(UserError):
    """A directory in which another command writes."""


@dataclass(frozen=True)
class LockHolder:
    """Who writes in a directory: a process, the command that it runs, and since when, by its clock."""

    process: ProcessId
    command: str
    since: str

    def __str__(self) -> str:
        return f"process {self.process.pid} on {self.process.host} since {self.since} ({self.command})"


_HOLDER = TypeAdapter(LockHolder)


def lock(folder: Path) -> ExitStack:
    """Lock a directory that exists, until the stack that comes back is closed or the process ends.

    Raises:
        InUseError: another command holds it.
    """
    file = folder / LOCK
    with ExitStack() as held:
        has_locks = True
        try:
            held.enter_context(FileLock(file, timeout=0, preserve_lock_file=True))
        except Timeout:
            who = holder_of(folder) or "another process"
            raise InUseError(f"{folder}: in use by {who}; wait for it or choose another directory") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            has_locks = False
        holder = holder_of(folder)
        if holder is not None and holder.process != this_process_id():
            lives = is_alive(holder.process)
            # The kernel has just let us in: a holder on another host, of which we know nothing, has ended.
            if lives or (lives is None and not has_locks):
                hint = "wait for it or choose another directory" if lives else f"if it has ended, delete {file}"
                raise InUseError(f"{folder}: in use by {holder}; {hint}")
        file.write_text(json.dumps(asdict(LockHolder(this_process_id(), _command(), time.strftime("%Y-%m-%d %H:%M")))) + "\n")
        held.callback(_clear, folder)
        return held.pop_all()


def holder_of(folder: Path) -> LockHolder | None:
    """Who is recorded in a directory, possibly killed since; None where nobody is, or the record is just being written."""
    with suppress(FileNotFoundError, ValidationError):
        return _HOLDER.validate_json((folder / LOCK).read_bytes())
    return None


def _clear(folder: Path) -> None:
    holder = holder_of(folder)
    # Somebody may have deleted the directory, and another command begun a new one.
    if holder is not None and holder.process == this_process_id():
        (folder / LOCK).write_bytes(b"")


def _command() -> str:
    """Such as `nas.search`."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec is not None else Path(sys.argv[0]).name
