"""The door of every command: a user's mistakes end in one line and exit code 2, an interruption loses nothing."""

from __future__ import annotations

import argparse
import atexit
import errno
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any, NoReturn

from space.errors import UserError

OK, FAILED, INTERRUPTED = 0, 2, 130
DATA_HELP = "folder or tar in ImageFolder layout, a name timm knows, digits or probes (%(default)s)"


def exit_code_of(action: Callable[[], None], *, is_short: bool = False, on_several_gpus: bool = False) -> int:
    """Run a command's action and turn the errors that a user can mend into one line on stderr and an exit code.

    Args:
        is_short: whether it takes seconds, as plans do, most of them to import what it needs.
        on_several_gpus: whether torchrun may start the command once a GPU; then the first of the processes alone prints.
    """
    try:
        with _one_voice(on_several_gpus), _terminable(), _uncollected() if is_short else nullcontext():
            action()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("\nstopped; everything finished so far is kept, the same command continues", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        complaint = _complaint_of(error)
        if complaint is None:
            raise
        print(f"error: {complaint}", file=sys.stderr)
        return FAILED
    return OK


_FREE_SPACE = "free some space there or choose another place, then run again"
_ASK_FOR_PERMISSION = "expected permission to use it; change its permissions or choose another path"
_REACH = "check that its file system can be reached, then run again"
_ADVICE = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: _FREE_SPACE,
    errno.EROFS: "choose a path that can be written",
    errno.EACCES: _ASK_FOR_PERMISSION,
    errno.EPERM: _ASK_FOR_PERMISSION,
    errno.ENOENT: "check the path",
    errno.EISDIR: "expected a file",
    errno.ENOTDIR: "expected a folder",
    errno.EEXIST: "choose another path",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EMFILE: "raise the limit of the process's open files (ulimit -n), then run again",
    errno.ENFILE: "too many open files on this machine; close some, then run again",
    errno.EIO: "check the disk",
    errno.ETIMEDOUT: _REACH,
    errno.ESTALE: _REACH,
    errno.EHOSTDOWN: _REACH,
}
"""What a user can do about an error of the file system."""


def _complaint_of(error: OSError) -> str | None:
    """Which path it was, what happened to it and what to do; None where the error is no matter of a user's files."""
    # Of a renaming the second name is the one that matters. A number is a descriptor, which we have mishandled.
    path = error.filename if error.filename2 is None else error.filename2
    if not isinstance(path, (str, bytes, os.PathLike)):
        # Writing names no file, and the disk may be full all the same.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return None
        path = "disk"
    where = os.fsdecode(path)
    advice = _ADVICE.get(error.errno or 0)
    return f"{where if where.isprintable() else repr(where)}: {error.strerror}{f'; {advice}' if advice else ''}"


@contextmanager
def _terminable() -> Iterator[None]:
    """End a command by SIGTERM, as schedulers and containers do, just as by Ctrl-C, also where that is ignored: in background jobs.

    Of the processes that torchrun has started SIGTERM ends each at once: the others may wait for it in the middle of a step.
    """
    if threading.current_thread() is not threading.main_thread() or _num_processes() > 1:
        yield
        return
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without Python's collector of reference cycles, which in a short command would go over what is imported again and again, and find
    nothing: a sixth of its time, a part of that as it ends."""
    if sys.modules["__main__"].__package__ == __package__:
        # The process ends with the command.
        atexit.register(gc.freeze)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _one_voice(on_several_gpus: bool) -> Iterator[None]:
    """Let one of the processes that torchrun has started print; UserError where there may be one only."""
    processes = _num_processes()
    if processes > 1 and not on_several_gpus:
        raise UserError(f"torchrun: got {processes} processes, expected one; several GPUs are for nas.train and nas.retrain")
    if processes == 1 or os.environ.get("RANK", "0") == "0":
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        yield


def _num_processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, and whose options are written out.

    A script with an abbreviation would break, or mean something else, as soon as a command has another option of that beginning.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def given(self, argv: Sequence[str] | None = None) -> frozenset[str]:
        """Names (`dest`) of what stands in a command line that `parse_args` takes, also where it says what is so by default."""
        defaults = [(action, action.default) for action in self._actions]
        for action, _ in defaults:
            action.default = argparse.SUPPRESS
        try:
            return frozenset(vars(self.parse_args(argv)))
        finally:
            for action, default in defaults:
                action.default = default

    def error(self, message: str) -> NoReturn:
        self.exit(FAILED, f"error: {message.removeprefix('argument ')}; see {self.prog} --help\n")


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add `--dry-run`, which every command has."""
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, what it costs in time, memory and disk, and stop")


def whole_number(least: int) -> Callable[[str], int]:
    """An argument type: a whole number, `least` or more."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"got {text!r:.60}, expected a whole number, {least} or more")
        return value

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    """An argument type: a number, at least `low` and less than `high`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value < high:
            raise argparse.ArgumentTypeError(f"got {text!r:.60}, expected a number, at least {low:g} and less than {high:g}")
        return value

    return parse
