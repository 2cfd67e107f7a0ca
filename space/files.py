"""YAML files of architectures and search spaces."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from space import yaml_text
from space.architecture import Architecture
from space.errors import SpaceError, explain, one_line
from space.published import Published
from space.registry import Value
from space.search_space import SearchSpace

ARCHITECTURE_SCHEMA = "architecture/1"
SPACE_SCHEMA = "search-space/1"
MAX_FILE_BYTES = 1_000_000

Model = TypeVar("Model", bound=Value)


def load_architecture(name_or_path: str | Path) -> Architecture:
    """Read an architecture from a file, or a published network by its name; SpaceError names the key path of the first mistake."""
    if str(name_or_path) in parent_names():
        return _parent(str(name_or_path))[0]
    return _architecture(*_architecture_document(name_or_path))


def parent_names(task: str | None = None) -> tuple[str, ...]:
    """Names of the published networks in the package: of all tasks, or of one."""
    names = _catalog_names("parents")
    return names if task is None else tuple(name for name in names if _parent(name)[0].task == task)


def load_published(name_or_path: str | Path) -> Published | None:
    """The published figures of a network; None where its file has none."""
    if str(name_or_path) in parent_names():
        return _parent(str(name_or_path))[1]
    return _published(*_architecture_document(name_or_path))


def load_value(model: type[Model], path: Path, schema: str) -> Model:
    """Read any other value from its YAML file; SpaceError names the file and the key path of the first mistake."""
    return _validate(model, _read(path, schema), str(path))


def load_json(model: type[Model], path: Path, schema: str) -> Model:
    """Read any other value from its JSON file; SpaceError as of `load_value`."""
    try:
        document = from_json(_content(path), allow_inf_nan=False)
    except ValueError as error:
        raise SpaceError(f"{path}: got no JSON: {one_line(error)}, expected that of {schema}") from None
    return _validate(model, _of_schema(document, str(path), schema), str(path))


def load_provenance(name_or_path: str | Path) -> dict[str, Any]:
    """The provenance in an architecture's file; empty where it has none."""
    path, where = _architecture_file(name_or_path)
    provenance = _read(path, ARCHITECTURE_SCHEMA).get("provenance", {})
    if not isinstance(provenance, dict):
        raise SpaceError(f"{where}: provenance: got {provenance!r:.60}, expected a mapping")
    return provenance


def dump_architecture(architecture: Architecture, provenance: Mapping[str, Any] | None = None) -> str:
    """Write an architecture as YAML that reads back as the same value."""
    return yaml_text.dump(architecture_document(architecture) | ({"provenance": dict(provenance)} if provenance else {}))


def architecture_document(architecture: Architecture) -> dict[str, Any]:
    """An architecture as the mapping that its YAML holds, of plain values."""
    document = {"schema": ARCHITECTURE_SCHEMA} | architecture.model_dump()
    return document | {"stages": architecture.model_dump(include={"stages"}, exclude_defaults=True)["stages"]}


def parse_architecture(document: Mapping[str, Any], where: str) -> Architecture:
    """Read an architecture from what `architecture_document` made of one; `where` replaces the file's name in errors."""
    return _validate(Architecture, _of_schema(document, where, ARCHITECTURE_SCHEMA), where)


def load_space(name_or_path: str | Path) -> SearchSpace:
    """Read a search space from a file, or one of the package by its name."""
    if str(name_or_path) in space_names():
        return _validate(SearchSpace, _read(_catalog_file("spaces", name_or_path), SPACE_SCHEMA), str(name_or_path))
    path = Path(name_or_path)
    if not path.exists():
        raise SpaceError(f"space: got {str(path)!r}, expected one of {', '.join(space_names())} or a YAML file")
    return _validate(SearchSpace, _read(path, SPACE_SCHEMA), str(path))


def dump_space(space: SearchSpace) -> str:
    """Write a search space as YAML that reads back as the same value."""
    return yaml_text.dump({"schema": SPACE_SCHEMA} | space.model_dump(exclude_defaults=True))


def space_names() -> tuple[str, ...]:
    """Names of the search spaces in the package."""
    return _catalog_names("spaces")


def parse_space(text: str, where: str) -> SearchSpace:
    """Read a search space from YAML text; `where` replaces the file's name in errors."""
    return _validate(SearchSpace, _of_schema(yaml_text.parse(text, where), where, SPACE_SCHEMA), where)


def write_atomically(path: Path, content: str | bytes, durable: bool = True) -> None:
    """Write a file whole or not at all: under a temporary name first, then renamed. An OSError names the file.

    Args:
        durable: also survive a loss of power; this takes the disk some milliseconds.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            # Errors name no file, or the temporary one, which the user does not know.
            error.filename, error.filename2 = str(path), None
        raise
    if durable:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a renaming survive a loss of power.

    Otherwise the old file could come back, and files written one after the other could do so in another order: a checkpoint
    deleted while the weights that replace it are not there yet.
    """
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        # Some network file systems cannot.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(number)


def _architecture_file(name_or_path: str | Path) -> tuple[Traversable, str]:
    """The file of an architecture, and its name for errors."""
    if str(name_or_path) in parent_names():
        return _catalog_file("parents", name_or_path), str(name_or_path)
    path = Path(name_or_path)
    # A name with a suffix is a file: that it cannot be read is the better message.
    if not path.suffix and not path.exists():
        raise SpaceError(f"architecture: got {str(path)!r}, expected one of {', '.join(parent_names())} or a YAML file")
    return path, str(path)


@cache
def _parent(name: str) -> tuple[Architecture, Published | None]:
    """A published network, read once: every search reads all of them, and YAML is slow."""
    document, where = _architecture_document(name)
    return _architecture(document, where), _published(document, where)


def _architecture_document(name_or_path: str | Path) -> tuple[dict[str, Any], str]:
    path, where = _architecture_file(name_or_path)
    return _read(path, ARCHITECTURE_SCHEMA), where


def _architecture(document: dict[str, Any], where: str) -> Architecture:
    return _validate(Architecture, {key: value for key, value in document.items() if key not in ("provenance", "published")}, where)


def _published(document: dict[str, Any], where: str) -> Published | None:
    published = document.get("published")
    return None if published is None else _validate(Published, published, f"{where}: published")


@cache
def _catalog_names(folder: str) -> tuple[str, ...]:
    entries = (resources.files("space") / "catalog" / folder).iterdir()
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in entries if entry.name.endswith(".yaml")))


def _catalog_file(folder: str, name: str | Path) -> Traversable:
    return resources.files("space") / "catalog" / folder / f"{name}.yaml"


def _validate(model: type[Model], document: object, where: str) -> Model:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise explain(error, where) from None


def _read(path: Path | Traversable, schema: str) -> dict[str, Any]:
    try:
        text = _content(path).decode("utf-8")
    except UnicodeDecodeError:
        raise SpaceError(f"{path}: cannot be read: not UTF-8 text") from None
    return _of_schema(yaml_text.parse(text, str(path)), str(path), schema)


def _content(path: Path | Traversable) -> bytes:
    try:
        # A pipe's or a device's size is reported as zero, so the limit is on what is read.
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SpaceError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise SpaceError(f"{path}: got a larger file, expected at most {MAX_FILE_BYTES} bytes")
    return content


def _of_schema(document: object, where: str, schema: str) -> dict[str, Any]:
    if not isinstance(document, Mapping) or document.get("schema") != schema:
        got = document.get("schema") if isinstance(document, Mapping) else type(document).__name__
        raise SpaceError(f"{where}: schema: got {got!r:.60}, expected {schema!r}")
    return {key: value for key, value in document.items() if key != "schema"}
