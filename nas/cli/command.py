"""How every command starts and ends: a user's mistake is one line and exit code 2, and an interruption loses nothing."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pkgutil import resolve_name

from nas.cli.command_line import FAILED, ConfigParser
from nas.cli.options import Config
from nas.cli.stopping import interruptible
from space.errors import UserError

OK, INTERRUPTED = 0, 130


@dataclass(frozen=True)
class Command:
    """The `main` of a command: called, it reads a config from the command line, runs it, and returns an exit code.

    Args:
        config_class: whose options are the command's; `dry_run` is one of them.
        run: `module:function` of a config and a console. It is imported after the command line was read: `--help` loads no library.
        on_several_gpus: as of `exit_code_of`.
        word: that chooses it in a `CommandGroup`.
    """

    config_class: type[Config]
    run: str
    description: str
    epilog: str | None = None
    on_several_gpus: bool = False
    word: str = ""

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        prog = " ".join(filter(None, (_program(self.run), self.word)))
        config = ConfigParser(self.config_class, prog=prog, description=self.description, epilog=self.epilog).read(argv)
        return exit_code_of(partial(self._run, config), is_short=config.dry_run, on_several_gpus=self.on_several_gpus)

    def _run(self, config: Config) -> None:
        from nas.cli.console import open_console

        console = open_console()
        if console.is_terminal:
            # Before the import that takes seconds.
            console.print(f"{_program(self.run).removeprefix('python -m ')}: loading PyTorch", style="dim", highlight=False)
        resolve_name(self.run)(config, console)


class CommandGroup:
    """The `main` of a command whose first argument chooses one of several commands."""

    def __init__(self, description: str, *commands: Command) -> None:
        self._description = description
        self._commands = {command.word: command for command in commands}

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        words = sys.argv[1:] if argv is None else argv
        if words and words[0] in self._commands:
            return self._commands[words[0]](words[1:])
        prog = _program(next(iter(self._commands.values())).run)
        if words and words[0] in ("-h", "--help"):
            print(f"usage: {prog} COMMAND ...\n\n{self._description}\n")
            for word, command in self._commands.items():
                print(f"  {prog} {word} --help\n      {command.description}")
            return OK
        got = repr(words[0])[:60] if words else "none"
        print(f"error: command: got {got}, expected one of {', '.join(self._commands)}; see {prog} --help", file=sys.stderr)
        return FAILED


def _program(run: str) -> str:
    """How the command of a function in a folder or file of `nas` is started."""
    return f"python -m {'.'.join(run.partition(':')[0].split('.')[:2])}"


def exit_code_of(action: Callable[[], None], *, is_short: bool = False, on_several_gpus: bool = False) -> int:
    """Run a command's action and turn the errors that a user can mend into one line on stderr and an exit code.

    Args:
        is_short: whether it takes seconds, as dry runs do, most of them spent on imports.
        on_several_gpus: whether torchrun may start one process a GPU; then only the first process prints.
    """
    try:
        with _printing_once(on_several_gpus), _stopping(), _without_garbage_collection() if is_short else nullcontext():
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
    """The path, what happened to it and what to do; None where the error does not concern a user's files."""
    # When a renaming fails, the second name matters. A number is a descriptor: a bug of ours.
    path = error.filename if error.filename2 is None else error.filename2
    if not isinstance(path, (str, bytes, os.PathLike)):
        # An error of writing names no file; a full disk is still the user's matter.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return None
        path = "disk"
    where = os.fsdecode(path)
    advice = _ADVICE.get(error.errno or 0)
    return f"{where if where.isprintable() else repr(where)}: {error.strerror}{f'; {advice}' if advice else ''}"


def _stopping() -> AbstractContextManager[None]:
    """What lets a command be stopped. A signal ends a process that torchrun started at once: the others may be waiting for it in a step."""
    return interruptible() if threading.current_thread() is threading.main_thread() and _num_processes() == 1 else nullcontext()


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Switch off Python's collector of reference cycles: in a short command it costs a sixth of the time, going over imported modules
    again and again, and finds nothing. Part of that time is spent as the process ends."""
    if str(sys.modules["__main__"].__package__).partition(".")[0] == "nas":
        # The process ends with the command.
        atexit.register(gc.freeze)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _printing_once(on_several_gpus: bool) -> Iterator[None]:
    """Let only one of torchrun's processes print; UserError for a command that runs in one process."""
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
