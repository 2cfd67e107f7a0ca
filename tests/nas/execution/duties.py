"""Jobs for the workers of tests, in a module of its own that every worker can import."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from space.errors import UserError

JobFunction = Callable[[tuple[str, Path, int]], int]


def make_function() -> JobFunction:
    """A worker's function: the first word of the payload says what it does."""
    return do


def do(payload: tuple[str, Path, int]) -> int:
    """Note that the job was started, and do it; the square of the number."""
    what, folder, number = payload
    with (folder / "begun").open("a") as file:
        file.write(f"{number} {os.getpid()}\n")
    _DUTIES[what](folder, number)
    return number * number


def begun(folder: Path) -> list[tuple[int, int]]:
    """Number and process of every attempt at a job."""
    file = folder / "begun"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(int(number), int(process)) for number, process in map(str.split, lines)]


def _visible_gpus(folder: Path, number: int) -> None:
    (folder / f"visible-{number}").write_text(os.environ["CUDA_VISIBLE_DEVICES"])


def _work(folder: Path, number: int) -> None:
    time.sleep(0.01 * (number % 3))


def _raise(folder: Path, number: int) -> None:
    raise ArithmeticError(f"{number} is odd\nand more")


def _raise_once(folder: Path, number: int) -> None:
    if _is_first(folder, number):
        _raise(folder, number)


def _mistake(folder: Path, number: int) -> None:
    raise UserError(f"images/{number}.png: cannot be read")


def _full_disk(folder: Path, number: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / str(number)))


def _die(folder: Path, number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_once(folder: Path, number: int) -> None:
    if _is_first(folder, number):
        _die(folder, number)


def _wait(folder: Path, number: int) -> None:
    time.sleep(600)


def _lose_node(folder: Path, number: int) -> None:
    """At the first attempt: note the node, and wait to be lost with it."""
    import ray

    if _is_first(folder, number):
        (folder / "node").write_text(ray.get_runtime_context().get_node_id())
        time.sleep(600)


def _count(folder: Path, number: int) -> None:
    """Note how many of these jobs run at the same time."""
    mine = folder / f"at-it-{number}"
    mine.touch()
    time.sleep(0.2)
    with (folder / "together").open("a") as file:
        file.write(f"{len(list(folder.glob('at-it-*')))}\n")
    mine.unlink()


def _is_first(folder: Path, number: int) -> bool:
    file = folder / f"first-{number}"
    if file.exists():
        return False
    file.touch()
    return True


_DUTIES = {
    "work": _work, "raise": _raise, "raise once": _raise_once, "mistake": _mistake, "die": _die, "die once": _die_once, "wait": _wait,
    "full disk": _full_disk, "lose node": _lose_node, "count": _count, "visible gpus": _visible_gpus,
}  # fmt: skip
