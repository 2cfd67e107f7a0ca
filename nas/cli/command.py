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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import NoReturn

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
        # Without a file name it is no matter of the user's files, and the traceback is worth having.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES) and error.filename is None:
            raise
        where = error.filename or "disk"
        print(f"error: {where}: {error.strerror}; free some space or choose another --out, then run again", file=sys.stderr)
        return FAILED
    return OK


@contextmanager
def _terminable() -> Iterator[None]:
    """Hear SIGTERM, by which schedulers and containers end a command, as Ctrl-C; where that is not heard, it ends the process at once."""
    is_deaf = signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None) or threading.current_thread() is not threading.main_thread()
    if is_deaf or _num_processes() > 1:
        # Of several processes the others may wait for this one in the middle of a step.
        yield
        return
    previous = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


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
    """An argument parser whose complaints are one line."""

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
            raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number, {least} or more")
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
            raise argparse.ArgumentTypeError(f"got {text!r}, expected a number, at least {low:g} and less than {high:g}")
        return value

    return parse
