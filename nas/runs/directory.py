"""A run's directory: it holds the resolved config, and the same command run again continues in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from importlib import metadata
from pathlib import Path
from typing import Any

from nas import __version__
from nas.runs.lock import LOCK, lock
from nas.runs.storage_url import sqlite_url
from space.errors import UserError
from space.files import write_atomically

LIBRARIES = ("torch", "timm", "optuna")
LEFT_OVER = re.compile(r"\..+\.\d+\.tmp")
"""What `write_atomically` calls a file that it has not finished."""


class RunError(UserError):
    """A run directory that cannot be used."""


def open_run(path: Path, config: Mapping[str, Any], free: frozenset[str] = frozenset()) -> ExitStack:
    """Create a run's directory, or continue in one, also with another command: what both depend on has to be the same.

    The directory is this process's own until the stack that comes back is closed: `with open_run(path, config): ...`.

    Args:
        config: the resolved config, written to `config.json` with the versions of what computes, beside what is there.
        free: keys that may differ when a run continues, such as the number of trials.

    Raises:
        RunError: the directory holds another run, or files that are none.
        InUseError: another command writes in it.
    """
    file = path / "config.json"
    if path.exists() and not file.exists() and any(not _is_ours(child.name) for child in path.iterdir()):
        raise RunError(f"{path}: not empty and not a run's directory; choose another --out")
    path.mkdir(parents=True, exist_ok=True)
    with lock(path) as held:
        remove_leftovers(path)
        # As a file gives it back: paths as text, tuples as lists.
        written = json.loads(json.dumps(config, default=str))
        if file.exists():
            try:
                found = dict(json.loads(file.read_text())["config"])
            except (ValueError, KeyError, TypeError):
                raise RunError(f"{file}: not a run's config; choose another --out") from None
            for key in sorted(written.keys() & found.keys()):
                if key not in free and written[key] != found[key]:
                    difference = f"holds a run with {key} {found[key]!r}, got {written[key]!r}"
                    raise RunError(f"{path}: {difference}; choose another --out, or repeat its command")
            written = found | written
        versions = {"token-mixer-nas": __version__, **{name: metadata.version(name) for name in LIBRARIES}}
        write_atomically(file, json.dumps({"config": written, "versions": versions}, indent=2) + "\n")
        return held.pop_all()


@contextmanager
def open_run_of_all(path: Path, config: Mapping[str, Any], free: frozenset[str] = frozenset()) -> Iterator[None]:
    """`open_run` for a command that torchrun may have started: the first process opens it, the others wait for that."""
    from supernet.training.distributed import is_first, wait_for_all

    with open_run(path, config, free) if is_first() else nullcontext():
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
    """Whether a file tells nothing of what a directory is for: a command that was killed at once leaves such files."""
    return name == LOCK or LEFT_OVER.fullmatch(name) is not None


def storage_of_run(path: Path) -> str:
    """URL of the study's storage of a search's directory."""
    return config_of_run(path).get("storage") or sqlite_url(path)


def config_of_run(path: Path) -> dict[str, Any]:
    """The resolved config of a run's directory."""
    try:
        return dict(json.loads((path / "config.json").read_text())["config"])
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(f"{path}: got no run's directory, expected one with a config.json") from None


