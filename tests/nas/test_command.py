"""The door of every command: which mistakes are a line, which a traceback, how a command is ended, and which options were given."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.cli.command import INTERRUPTED, exit_code_of
from nas.cli.command_line import FAILED, ConfigParser
from nas.cli.options import Config, OptionError, checked, option, options_of
from nas.cli.stopping import PATIENCE_SECONDS
from space.files import write_atomically
from tests.nas.conftest import Mistaken


def raising(error: BaseException) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


PROVOKED: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "no such file": (lambda folder: (folder / "none.txt").read_text(), errno.ENOENT, "none.txt: No such file or directory; check the path"),
    "a folder for a file": (lambda folder: folder.read_text(), errno.EISDIR, ": Is a directory; expected a file"),
    "a file for a folder": (lambda folder: next((folder / "file").iterdir()), errno.ENOTDIR, "file: Not a directory; expected a folder"),
    "inside a file": (lambda folder: write_atomically(folder / "file" / "x.yaml", "x"), errno.ENOTDIR, "file/x.yaml: Not a directory"),
    "a name too long": (lambda folder: write_atomically(folder / ("x" * 250), "x"), errno.ENAMETOOLONG, "name too long; choose a shorter"),
    "nowhere to write": (lambda folder: write_atomically(folder / "none" / "x.yaml", "x"), errno.ENOENT, "none/x.yaml: No such file"),
    "onto a folder": (lambda folder: write_atomically(folder / "full", "x"), errno.EISDIR, "full: Is a directory; expected a file"),
    "there already": (lambda folder: (folder / "full").mkdir(), errno.EEXIST, "full: File exists; "),
}  # fmt: skip


@pytest.mark.parametrize("what", PROVOKED)
def test_what_the_file_system_refuses_names_the_file_and_what_to_do(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    provoke, number, expected = PROVOKED[what]
    with pytest.raises(OSError, match=re.escape(os.strerror(number))):
        provoke(tmp_path)
    assert exit_code_of(lambda: provoke(tmp_path)) == FAILED
    complaint = capsys.readouterr().err
    assert complaint.startswith("error: /")
    assert complaint.count("\n") == 1
    assert expected in complaint
    assert ".tmp:" not in complaint
    assert "space" not in complaint


ADVICE = {
    errno.ENOSPC: "free some space", errno.EDQUOT: "free some space", errno.EROFS: "choose a path that can be written",
    errno.EACCES: "permission", errno.EPERM: "permission", errno.EMFILE: "ulimit -n", errno.ENFILE: "open files",
    errno.ETIMEDOUT: "reach", errno.EIO: "disk", errno.ESTALE: "reach",
}  # fmt: skip


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_only_a_full_disk_asks_for_space(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    error = OSError(number, os.strerror(number), "/somewhere/a\nfile")
    assert exit_code_of(raising(error)) == FAILED
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"error: '/somewhere/a\\nfile': {os.strerror(number)}")
    assert complaint.count("\n") == 1
    assert ("free some space" in complaint) == (number in (errno.ENOSPC, errno.EDQUOT))
    assert ADVICE.get(number, "") in complaint


def test_a_full_disk_is_told_where_no_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(raising(OSError(errno.ENOSPC, "No space left on device"))) == FAILED
    advice = "free some space there or choose another place, then run again"
    assert capsys.readouterr().err == f"error: disk: No space left on device; {advice}\n"


def test_what_does_not_fit_is_named_though_writing_names_no_file(tmp_path: Path) -> None:
    # A limit on the size of files, like a full disk, is met in the middle of writing.
    previous, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, previous[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)) as caught:
            write_atomically(tmp_path / "large.bin", "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, previous)
        signal.signal(signal.SIGXFSZ, ignored)
    assert caught.value.filename == str(tmp_path / "large.bin")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bug", [OSError("bug"), OSError(errno.EBADF, "Bad file descriptor"), OSError(errno.ENOENT, "x", 3), KeyError("x"),
                                 OSError(errno.EACCES, "Permission denied"), ConnectionResetError(errno.ECONNRESET, "reset")])  # fmt: skip
def test_a_bug_of_ours_shows_its_traceback(bug: Exception) -> None:
    with pytest.raises(type(bug)) as caught:
        exit_code_of(raising(bug))
    assert caught.value is bug


WAITS = """
import sys, time
from nas.cli.command import exit_code_of
def action():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("tidied", flush=True)
sys.exit(exit_code_of(action))
"""


@pytest.mark.parametrize("disposition", [signal.SIG_IGN, signal.SIG_DFL])
def test_sigterm_is_heard_whatever_becomes_of_ctrl_c(disposition: signal.Handlers) -> None:
    """A shell starts a script's background jobs deaf to SIGINT; a scheduler ends them by SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, disposition),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, complaint = process.communicate(timeout=60)
    assert out == "tidied\n"
    assert complaint == "\nstopped; everything finished so far is kept, the same command continues\n"
    assert process.returncode == INTERRUPTED


STOPS_SLOWLY = """
import sys, time
from nas.cli.command import exit_code_of
def action():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        # As a step that is finished, or workers that are told to end.
        sys.stdin.readline()
sys.exit(exit_code_of(action))
"""


def test_a_command_that_takes_long_to_stop_says_at_once_that_it_stops() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STOPS_SLOWLY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    # It has not stopped yet.
    assert process.stderr.readline() == "stopping, keeping what is finished\n"
    assert process.poll() is None
    assert process.communicate("now\n", timeout=60)[1] == "\nstopped; everything finished so far is kept, the same command continues\n"
    assert process.returncode == INTERRUPTED


def test_a_child_that_is_told_to_end_stops_no_command(capfd: pytest.CaptureFixture[str]) -> None:
    def action() -> None:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.write(writing, b"ready")
                time.sleep(60)
            except KeyboardInterrupt:
                os._exit(0)
        os.read(reading, 5)
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        time.sleep(2 * PATIENCE_SECONDS)

    assert exit_code_of(action) == 0
    assert "stopping" not in capfd.readouterr().err


FIRST_WORDS = """
import sys
from rich.console import Console
from nas.search.__main__ import main
shown = Console.print
def show(console, *objects, **style):
    print(objects[0], "torch" in sys.modules, file=sys.stderr)
    sys.exit(0)
Console.print = show
main(["--budget", "4.5GFLOPs", "--dry-run"])
"""


def test_the_screen_says_something_before_torch_is_imported() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", FIRST_WORDS], env=os.environ | {"FORCE_COLOR": "1"}, capture_output=True, text=True, timeout=120
    )
    assert shown.stderr == "nas.search: loading PyTorch False\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_that_ends_in_another_error_is_one(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    """As in C code that raises an error of its own where what it calls was interrupted."""
    # A test that runs beside others is deaf to Ctrl-C.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)

    def action() -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise ImportError("numpy.core.multiarray failed to import") from None

    try:
        assert exit_code_of(action) == INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, previous)
    assert capsys.readouterr().err == "\nstopped; everything finished so far is kept, the same command continues\n"


def test_of_several_processes_none_hears_sigterm_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    before, seen = signal.getsignal(signal.SIGTERM), []
    assert exit_code_of(lambda: seen.append(signal.getsignal(signal.SIGTERM)), on_several_gpus=True) == 0
    assert seen == [before]


def test_signals_are_afterwards_as_they_were() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    assert exit_code_of(lambda: None) == 0
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@dataclass(frozen=True, kw_only=True)
class Some(Config):
    steps: int = option(250, "of training", at_least=1)
    share: float = option(0.5, "of images", at_least=0, below=10)
    race: bool = option(False, "stop early")


def parser() -> ConfigParser[Some]:
    return ConfigParser(Some, prog="python -m nas.some")


def test_without_arguments_those_of_the_process_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["some", "--race"])
    assert parser().read(None).given == {"race"}


@pytest.mark.parametrize("short", ["--rac", "--step=3", "--batch"])
def test_options_are_written_out(short: str, mistaken: Mistaken) -> None:
    complaint = mistaken(lambda argv: len(parser().read(argv).given), [short])
    assert complaint.startswith(f"error: unrecognized arguments: {short}")


@pytest.mark.parametrize("name", ["steps", "share"])
@given(text=st.text(max_size=30) | st.sampled_from(["0,1", "1,000", "1e400", "nan", "9" * 5000, "１", "-0"]))
def test_any_text_is_a_number_or_one_line_that_quotes_it(name: str, text: str) -> None:
    complaint = ""
    try:
        assert checked(name, options_of(Some)[name], text) >= 0
    except OptionError as error:
        complaint = str(error)
    assert not complaint or repr(text)[:60] in complaint
    assert len(complaint.splitlines()) <= 1
    assert len(complaint) < 300
