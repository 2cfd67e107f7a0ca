"""A run's directory: it holds the resolved config, and the same command run again continues in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from nas import __version__
from nas.runs.lock import LOCK, lock
from nas.runs.storage_url import JOURNAL, SQLITE, journal_url
from space.errors import UserError
from space.files import write_atomically

LIBRARIES = ("torch", "timm", "optuna")
CONFIG = "config.json"
LEFT_OVER = re.compile(r"\..+\.\d+\.tmp")
"""What `write_atomically` calls a file that it has not finished."""


class RunError(UserError):
    """A run directory that cannot be used."""


def check_run(path: Path, config: Mapping[str, Any], may_change: frozenset[str] = frozenset()) -> None:
    """RunError where `open_run` would refuse a directory for what it holds. Nothing is written, so that a dry run can ask, too.

    A command calls it before it checks whatever else can be wrong, and opens the run when nothing is: a directory with a config is taken.
    It does not ask whether another command writes there.
    """
    _merged(path, config, may_change)


def open_run(path: Path, config: Mapping[str, Any], may_change: frozenset[str] = frozenset()) -> ExitStack:
    """Create a run's directory, or continue in one, also with another command: what both depend on has to be the same.

    The directory is this process's own until the stack that comes back is closed: `with open_run(path, config): ...`.

    Args:
        config: the resolved config, written to `config.json` with the versions of what computes, beside what is there.
        may_change: keys that may differ when a run continues, such as the number of trials; `out` always may: directories are moved.

    Raises:
        RunError: the directory holds another run, or files that are none.
        InUseError: another command writes in it.
    """
    check_run(path, config, may_change)
    path.mkdir(parents=True, exist_ok=True)
    with lock(path) as held:
        remove_leftovers(path)
        # Another command may have begun a run here meanwhile.
        merged = _merged(path, config, may_change)
        versions = {"token-mixer-nas": __version__, **{name: metadata.version(name) for name in LIBRARIES}}
        document = {"name": name_of_run(path), "config": merged, "versions": versions}
        write_atomically(path / CONFIG, json.dumps(document, indent=2) + "\n")
        return held.pop_all()


def _merged(path: Path, config: Mapping[str, Any], may_change: frozenset[str]) -> dict[str, Any]:
    """A directory's config together with a command's; RunError where they disagree."""
    if path.exists() and not path.is_dir():
        raise RunError(f"{path}: got a file, expected a folder; choose another --out")
    # As a file gives it back: paths as text, tuples as lists.
    written: dict[str, Any] = json.loads(json.dumps(config, default=str))
    if not (path / CONFIG).exists():
        if path.exists() and any(not _is_ours(child.name) for child in path.iterdir()):
            raise RunError(f"{path}: not empty and not a run's directory; choose another --out")
        return written
    try:
        found = _config_in(path)
    except (ValueError, KeyError, TypeError):
        raise RunError(f"{path / CONFIG}: not a run's config; choose another --out") from None
    for key in sorted(written.keys() & found.keys() - may_change - {"out"}):
        if written[key] != found[key]:
            difference = f"holds a run with {key} {found[key]!r}, got {written[key]!r}"
            raise RunError(f"{path}: {difference}; choose another --out, or repeat its command")
    return found | written


@contextmanager
def open_run_of_all(path: Path, config: Mapping[str, Any], may_change: frozenset[str] = frozenset()) -> Iterator[None]:
    """`open_run` for a command that torchrun may have started: the first process opens it, the others wait for that."""
    from supernet.training.distributed import is_first, wait_for_all

    with open_run(path, config, may_change) if is_first() else nullcontext():
        wait_for_all()
        yield


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes have not finished writing, but for directories with a lock of their own."""
    for child in path.iterdir():
        if child.is_dir() and not child.is_symlink():
            if not (child / LOCK).exists():
                remove_leftovers(child)
        elif LEFT_OVER.fullmatch(child.name):
            child.unlink(missing_ok=True)


def _is_ours(name: str) -> bool:
    """Whether a file says nothing about a directory's purpose: a command that was killed at once leaves such files."""
    return name == LOCK or LEFT_OVER.fullmatch(name) is not None


def storage_of_run(path: Path) -> str:
    """URL of the study's storage of a search's directory."""
    return config_of_run(path).get("storage") or journal_url(path)


def config_of_run(path: Path) -> dict[str, Any]:
    """The resolved config of a run's directory, as if it had been made where it lies now."""
    try:
        return _config_in(path)
    except _DAMAGED:
        raise RunError(f"{path}: got no run's directory, expected one with a {CONFIG}") from None


def name_of_run(path: Path) -> str:
    """The name of a run when it was made, which its study keeps: its directory may have been renamed."""
    with suppress(*_DAMAGED):
        return str(_document(path)["name"])
    return path.resolve().name


def versions_of_run(path: Path) -> dict[str, str]:
    """Versions of packages, by name, with which a run was made or last continued."""
    config_of_run(path)
    return dict(_document(path).get("versions", {}))


_DAMAGED = (OSError, ValueError, KeyError, TypeError)
"""What reading the config of something else raises."""


def _document(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((path / CONFIG).read_text())
    return document


def _config_in(path: Path) -> dict[str, Any]:
    config = dict(_document(path)["config"])
    if "out" not in config:
        return config
    moves = list(_moves(Path(config["out"]), path.resolve()))
    return {key: _moved(value, moves) for key, value in config.items()}


def _moves(old: Path, new: Path) -> Iterator[tuple[Path, Path]]:
    """The folders that have moved together with a run, as they were and are: its own, and those of runs that it lies in."""
    if not old.is_absolute() or old == new:
        return
    yield old, new
    child, now = old, new
    while child.name == now.name and child != child.parent:
        child, now = child.parent, now.parent
        if (now / CONFIG).exists():
            yield child, now


def _moved(value: Any, moves: Sequence[tuple[Path, Path]]) -> Any:
    """A value of a config, with paths and URLs of files in folders that have moved as they are now."""
    if isinstance(value, list):
        return [_moved(one, moves) for one in value]
    if not isinstance(value, str):
        return value
    kind = next((kind for kind in (SQLITE, JOURNAL) if value.startswith(kind)), "")
    file = Path(value.removeprefix(kind))
    return next((f"{kind}{new / file.relative_to(old)}" for old, new in moves if file.is_relative_to(old)), value)
