"""A run's directory: one command's at a time, whose it was is known, and what a killed one left in it is cleared away."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import filelock
import psutil
import pytest

from nas.runs.directory import RunError, check_run, config_of_run, name_of_run, open_run, storage_of_run
from nas.runs.lock import LOCK, InUseError, LockHolder, lock
from nas.runs.process_id import this_process_id

CONFIG = {"data": "digits", "trials": 3}
HOLDS = """
import sys
from pathlib import Path
from nas.runs.directory import open_run
with open_run(Path(sys.argv[1]), {"data": "digits"}):
    print("open", flush=True)
    sys.stdin.read()
print("closed", flush=True)
sys.stdin.close()
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process in whose hands a run's directory is."""
    command = [sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
        process.kill()


def record(path: Path, **changes: object) -> None:
    """Write what a holder leaves that was killed."""
    killed = replace(this_process_id(), **changes)  # type: ignore[arg-type]
    path.mkdir(exist_ok=True)
    (path / LOCK).write_text(json.dumps(asdict(LockHolder(killed, "nas.search", "2026-01-02 03:04"))))


def test_one_command_at_a_time(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with holder(run) as other:
        with pytest.raises(InUseError) as caught:
            open_run(run, CONFIG)
        words = str(caught.value)
        assert words.startswith(f"{run}: in use by process {other.pid} on ")
        assert words.endswith("; wait for it or choose another directory")
        # Its folders are not in use, other runs are not.
        (run / "audit").mkdir()
        with lock(run / "audit"), open_run(tmp_path / "other", CONFIG):
            pass
        assert other.stdin is not None
        other.stdin.close()
        assert other.stdout is not None
        assert other.stdout.readline() == "closed\n"
        with open_run(run, CONFIG):
            pass
    assert (run / LOCK).read_bytes() == b""


def test_a_killed_command_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path / "run") as other:
        other.kill()
        other.wait()
        assert str(other.pid) in (tmp_path / "run" / LOCK).read_text()
        with open_run(tmp_path / "run", CONFIG):
            assert str(os.getpid()) in (tmp_path / "run" / LOCK).read_text()


def test_what_goes_wrong_inside_lets_go(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_run(tmp_path / "run", CONFIG):
        raise ZeroDivisionError
    with pytest.raises(RunError, match="holds a run with data 'digits', got 'synthetic'"):
        open_run(tmp_path / "run", CONFIG | {"data": "synthetic"})
    with open_run(tmp_path / "run", CONFIG | {"trials": 9}, frozenset({"trials"})):
        pass


def no_locks(*_: object) -> None:
    raise OSError(errno.ENOSYS, "Function not implemented")


@pytest.mark.parametrize("has_locks", [True, False])
def test_a_record_is_held_against_the_process_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_locks: bool) -> None:
    if not has_locks:
        monkeypatch.setattr(filelock.FileLock, "_acquire", no_locks)
    run = tmp_path / "run"
    # Dead: the number was used again, by this process.
    record(run, started=this_process_id().started - 3600)
    with open_run(run, CONFIG):
        pass
    # Alive, whatever the file system says.
    parent = psutil.Process(os.getppid())
    record(run, pid=parent.pid, started=parent.create_time() - psutil.boot_time())
    with pytest.raises(InUseError, match=f"in use by process {parent.pid} on .*; wait for it"):
        open_run(run, CONFIG)
    record(run, host="elsewhere", pid=12)
    if has_locks:
        # Where there are locks, the other host's kernel would hold it.
        with open_run(run, CONFIG):
            pass
    else:
        words = r"in use by process 12 on elsewhere since 2026-01-02 03:04 \(nas.search\); if it has ended, delete .*run.lock"
        with pytest.raises(InUseError, match=words):
            open_run(run, CONFIG)


def test_without_locks_the_record_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with holder(tmp_path / "run") as other:
        monkeypatch.setattr(filelock.FileLock, "_acquire", no_locks)
        with pytest.raises(InUseError, match=f"in use by process {other.pid} on .*; wait for it"):
            open_run(tmp_path / "run", CONFIG)
        other.kill()
        other.wait()
        with open_run(tmp_path / "run", CONFIG):
            pass


def test_other_errors_of_a_file_system_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(filelock.FileLock, "_acquire", broken)
    with pytest.raises(OSError, match="Input/output error"):
        open_run(tmp_path / "run", CONFIG)


def test_what_killed_writers_left_is_cleared_away(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for folder in (run, run / "standalone", run / "audit"):
        folder.mkdir()
        for name in (".best.yaml.123.tmp", ".gitignore", "notes.123.tmp", ".x.tmp"):
            (folder / name).write_text("x")
    (run / "config.json").write_text(json.dumps({"config": CONFIG}))
    (run / "audit" / LOCK).write_text("")
    with open_run(run, CONFIG):
        left = {str(file.relative_to(run)) for file in run.rglob("*.123.tmp")}
    # An audit may be running.
    assert left == {"notes.123.tmp", "standalone/notes.123.tmp", "audit/notes.123.tmp", "audit/.best.yaml.123.tmp"}
    assert (run / ".gitignore").exists()
    assert (run / ".x.tmp").exists()


def test_a_command_that_was_killed_at_once_left_a_directory_to_go_on_in(tmp_path: Path) -> None:
    run = tmp_path / "run"
    record(run, started=0.0)
    (run / ".config.json.123.tmp").write_text("{")
    with open_run(run, CONFIG):
        assert sorted(file.name for file in run.iterdir()) == ["config.json", LOCK]


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("x")
    (tmp_path / ".photo.jpg.123.tmp").write_text("x")
    with pytest.raises(RunError, match="not empty and not a run's directory"):
        open_run(tmp_path, CONFIG)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".photo.jpg.123.tmp", "photo.jpg"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"config": 3}', '{"config": [1]}', "\x00"])
def test_a_config_that_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(RunError, match=r"config\.json: not a run's config; choose another --out"):
        open_run(tmp_path, CONFIG)


def make(folder: Path, /, **config: object) -> None:
    """Make a run whose config names its directory, a storage and a file there, or go on with it."""
    own = {"out": folder, "storage": f"sqlite:///{folder}/own/study.db", "others": [folder / "a.yaml"]}
    with open_run(folder, CONFIG | own | config):
        pass


@pytest.mark.parametrize("take", [shutil.move, shutil.copytree])
def test_a_directory_that_was_moved_or_copied_goes_on(tmp_path: Path, take: Callable[[Path, Path], object]) -> None:
    make(tmp_path / "run")
    moved = tmp_path / "elsewhere" / "renamed"
    moved.parent.mkdir()
    take(tmp_path / "run", moved)
    # Whoever reads it finds its files where they are now.
    assert config_of_run(moved)["out"] == str(moved)
    assert storage_of_run(moved) == f"sqlite:///{moved}/own/study.db"
    assert name_of_run(moved) == "run"
    for _ in range(2):
        make(moved)
    again = tmp_path / "again"
    shutil.move(moved, again)
    make(again)
    assert name_of_run(again) == "run"
    assert json.loads((again / "config.json").read_text())["config"]["out"] == str(again)
    # What decides is compared as ever.
    with pytest.raises(RunError, match="holds a run with data 'digits', got 'synthetic'"):
        make(again, data="synthetic")
    with pytest.raises(RunError, match="holds a run with storage"):
        make(again, storage=f"sqlite:///{tmp_path}/run/own/study.db")


def test_a_run_inside_another_moves_with_it(tmp_path: Path) -> None:
    (old, new), outside = (tmp_path / "a" / "run", tmp_path / "b"), tmp_path / "data"
    make(old)
    make(old / "comparison", run=old, others=[old / "next-2.yaml"], data=outside)
    shutil.move(old, new)
    config = config_of_run(new / "comparison")
    assert (config["run"], config["others"], config["data"]) == (str(new), [str(new / "next-2.yaml")], str(outside))
    make(new / "comparison", run=new, others=[new / "next-2.yaml"], data=outside)


def test_what_lies_beside_a_run_has_not_moved_with_it(tmp_path: Path) -> None:
    data = tmp_path / "a"
    make(data / "runs" / "mine", data=data)
    shutil.move(data / "runs", tmp_path / "runs")
    assert config_of_run(tmp_path / "runs" / "mine")["data"] == str(data)


def test_a_check_says_what_opening_would_and_writes_nothing(tmp_path: Path) -> None:
    run = tmp_path / "not" / "there"
    check_run(run, CONFIG)
    assert not list(tmp_path.iterdir())
    with open_run(run, CONFIG):
        # A dry run may look at a search that is under way.
        check_run(run, CONFIG)
    (tmp_path / "file").write_text("x")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    for path, config, complaint in (
        (run, CONFIG | {"data": "synthetic"}, "holds a run with data 'digits', got 'synthetic'"),
        (tmp_path, CONFIG, "not empty and not a run's directory"),
        (tmp_path / "file", CONFIG, "got a file, expected a folder"),
        (tmp_path / "broken", CONFIG, "not a run's config"),
    ):
        for refusing in (check_run, open_run):
            with pytest.raises(RunError, match=complaint):
                refusing(path, config)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
