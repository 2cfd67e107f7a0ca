"""YAML files of architectures and search spaces."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from yaml.composer import Composer

from space.architecture import Architecture
from space.errors import SpaceError, explain, one_line
from space.published import Published
from space.registry import Value
from space.search_space import SearchSpace

ARCHITECTURE_SCHEMA = "architecture/1"
SPACE_SCHEMA = "search-space/1"
MAX_FILE_BYTES = 1_000_000
MAX_NODES = 50_000
"""Values in a file, those that aliases repeat included."""
MAX_LEVELS = 50
"""Of lists and mappings in one another; an architecture has about ten."""
MAX_DIGITS = 40
"""YAML's numbers may have a million digits, which take minutes to read and cannot be shown."""

WIDTH, BLOCK_WIDTH = 160, 156
"""Of lines that are written, in characters, and of blocks without their indentation."""

Model = TypeVar("Model", bound=Value)


def load_architecture(name_or_path: str | Path) -> Architecture:
    """Read an architecture from a file, or a published network by its name; SpaceError names the key path of the first mistake."""
    if str(name_or_path) in parent_names():
        return _parent(str(name_or_path))[0]
    return _architecture(*_architecture_document(name_or_path))


def parent_names() -> tuple[str, ...]:
    """Names of the published networks that come with the package: the parents of what a search finds."""
    return _catalog_names("parents")


def load_published(name_or_path: str | Path) -> Published | None:
    """What the authors of a network say of it, where its file tells."""
    if str(name_or_path) in parent_names():
        return _parent(str(name_or_path))[1]
    return _published(*_architecture_document(name_or_path))


def load_value(model: type[Model], path: Path, schema: str) -> Model:
    """Read any other value from its YAML file; SpaceError names the file and the key path of the first mistake."""
    return _validate(model, _read(path, schema), str(path))


def load_provenance(name_or_path: str | Path) -> dict[str, Any]:
    """Where an architecture's file says that it comes from; empty where it does not."""
    path, where = _architecture_file(name_or_path)
    provenance = _read(path, ARCHITECTURE_SCHEMA).get("provenance", {})
    if not isinstance(provenance, dict):
        raise SpaceError(f"{where}: provenance: got {provenance!r:.60}, expected a mapping")
    return provenance


def dump_architecture(architecture: Architecture, provenance: Mapping[str, Any] | None = None) -> str:
    """Write an architecture as YAML that reads back as the same value."""
    document = architecture_document(architecture)
    blocks = [[_part_to_yaml(block, BLOCK_WIDTH) for block in stage["blocks"]] for stage in document["stages"]]
    stages = [_with_items(stage, "blocks", its) for stage, its in zip(document["stages"], blocks, strict=True)]
    return _with_items(document, "stages", stages) + (_to_yaml({"provenance": dict(provenance)}) if provenance else "")


def architecture_document(architecture: Architecture) -> dict[str, Any]:
    """An architecture as the mapping that its YAML holds, of plain values, so that JSON can hold it, too."""
    # What decides the network stands in the file even where it is a default.
    fields = architecture.model_dump(exclude_defaults=True)
    fields = {name: fields.get(name, getattr(architecture, name)) for name in ("name", "image_size", "in_chans", "num_classes")} | fields
    document = {"schema": ARCHITECTURE_SCHEMA} | fields
    document |= {"stem": architecture.stem.to_yaml(), "head": architecture.head.to_yaml()}
    order = ("schema", *Architecture.model_fields)
    return {key: document[key] for key in order if key in document}


def parse_architecture(document: Mapping[str, Any], where: str) -> Architecture:
    """Read an architecture from what `architecture_document` made of one; `where` stands for the file's name in errors."""
    return _validate(Architecture, _of_schema(document, where, ARCHITECTURE_SCHEMA), where)


def load_space(name_or_path: str | Path) -> SearchSpace:
    """Read a search space from a file, or by the name of one that comes with the package."""
    if str(name_or_path) in space_names():
        return _validate(SearchSpace, _read(_catalog_file("spaces", name_or_path), SPACE_SCHEMA), str(name_or_path))
    path = Path(name_or_path)
    if not path.exists():
        raise SpaceError(f"space: got {str(path)!r}, expected one of {', '.join(space_names())} or a YAML file")
    return _validate(SearchSpace, _read(path, SPACE_SCHEMA), str(path))


def dump_space(space: SearchSpace) -> str:
    """Write a search space as YAML that reads back as the same value."""
    return _to_yaml({"schema": SPACE_SCHEMA} | space.model_dump(exclude_defaults=True))


def space_names() -> tuple[str, ...]:
    """Names of the search spaces that come with the package."""
    return _catalog_names("spaces")


def parse_space(text: str, where: str) -> SearchSpace:
    """Read a search space from YAML text; `where` stands for the file's name in errors."""
    return _validate(SearchSpace, _document(text, where, SPACE_SCHEMA), where)


def write_atomically(path: Path, content: str | bytes, durable: bool = True) -> None:
    """Write a file whole or not at all: under a temporary name first, then renamed. An OSError names the file.

    Args:
        durable: also through a loss of power, which the disk needs some milliseconds for.
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
            # Errors of writing name no file, and others the temporary one, which nobody asked for.
            error.filename, error.filename2 = str(path), None
        raise
    if durable:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Have a renaming outlast a loss of power.

    Without it the old file would come back, whole; but files that were written one after the other could come back in
    another order: a checkpoint gone, and the weights that took its place not there yet.
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
    """Where an architecture stands, and what its errors call it."""
    if str(name_or_path) in parent_names():
        return _catalog_file("parents", name_or_path), str(name_or_path)
    path = Path(name_or_path)
    # What ends like a file name is one: that it cannot be read says more then.
    if not path.suffix and not path.exists():
        raise SpaceError(f"architecture: got {str(path)!r}, expected one of {', '.join(parent_names())} or a YAML file")
    return path, str(path)


@cache
def _parent(name: str) -> tuple[Architecture, Published | None]:
    """A published network, read once: every search looks at all of them, and YAML is slow."""
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
        # Not by the size that the system tells: that of a pipe or a device is zero.
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SpaceError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise SpaceError(f"{path}: got a larger file, expected at most {MAX_FILE_BYTES} bytes")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise SpaceError(f"{path}: cannot be read: not UTF-8 text") from None
    return _document(text, str(path), schema)


def _document(text: str, where: str, schema: str) -> dict[str, Any]:
    try:
        document = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise SpaceError(f"{where}: not valid YAML: {line}{one_line(error.problem or error.context)}") from None
    except yaml.YAMLError as error:
        raise SpaceError(f"{where}: not valid YAML: {one_line(error)}") from None
    return _of_schema(document, where, schema)


def _of_schema(document: object, where: str, schema: str) -> dict[str, Any]:
    if not isinstance(document, Mapping) or document.get("schema") != schema:
        got = document.get("schema") if isinstance(document, Mapping) else type(document).__name__
        raise SpaceError(f"{where}: schema: got {got!r:.60}, expected {schema!r}")
    return {key: value for key, value in document.items() if key != "schema"}


# Where libyaml is there it reads the text, four times as fast; what it reads is composed in Python all the same, under our eyes.
_LOADERS: tuple[Any, ...] = (Composer, yaml.CSafeLoader) if yaml.__with_libyaml__ else (yaml.SafeLoader,)


class _Loader(*_LOADERS):  # type: ignore[misc]
    """YAML that says each thing once, and no more of it than fits into memory. What it refuses has a line."""

    def __init__(self, text: str) -> None:
        _LOADERS[-1].__init__(self, text)
        Composer.__init__(self)
        self._level = 0
        self._unfolded: dict[int, tuple[int, int]] = {}
        """Values and levels under a finished node with every alias written out, by the node's id."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        # Counted while composing: both recursions, of composing and of constructing, then have an end.
        is_alias, mark = self.check_event(yaml.AliasEvent), self.peek_event().start_mark
        self._level += 1
        if self._level > MAX_LEVELS:
            raise _refusal(f"got {self._level} levels of lists and mappings, expected at most {MAX_LEVELS}", mark)
        node = super().compose_node(parent, index)
        self._level -= 1
        if is_alias and id(node) not in self._unfolded:
            raise _refusal("got an alias inside its own anchor, expected one of something that has ended", mark)
        if node is not None and not is_alias:
            self._unfolded[id(node)] = self._unfold(node)
        return node

    def _unfold(self, node: yaml.Node) -> tuple[int, int]:
        children = [] if isinstance(node, yaml.ScalarNode) else node.value
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in children for child in pair]
        under = [self._unfolded[id(child)] for child in children]
        size, levels = 1 + sum(size for size, _ in under), 1 + max((levels for _, levels in under), default=0)
        if max(size, len(self._unfolded)) > MAX_NODES:
            raise _refusal(f"got more values, expected at most {MAX_NODES} with all aliases written out", node.start_mark)
        if levels > MAX_LEVELS:
            problem = f"got {levels} levels of lists and mappings, expected at most {MAX_LEVELS} with all aliases written out"
            raise _refusal(problem, node.start_mark)
        return size, levels

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise _refusal(f"the key {key.value!r:.60} is there twice", key.start_mark)
            seen.add(key.value)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep)
        kind = node.tag.rpartition(":")[2]
        if kind in ("int", "float") and len(node.value) > MAX_DIGITS:
            raise _refusal(f"got a number of {len(node.value)} digits, expected at most {MAX_DIGITS}", node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, ValueError):
            # What Python raises for a date that there is not, or where a tag does not fit its text.
            raise _refusal(f"got {node.value!r:.60}, expected {kind!r:.60}", node.start_mark) from None


def _refusal(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


# YAML 1.1 reads 1e-6 as text and wants 1.0e-6; people write the former.
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789"))


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Blocks and choices on one line each, as a person would write them; by libyaml where that is there, five times as fast."""


def _represent_mapping(dumper: _Dumper, data: dict[str, Any]) -> yaml.Node:
    node = dumper.represent_mapping("tag:yaml.org,2002:map", data)
    node.flow_style = "type" in data or "mixer" in data
    return node


def _represent_list(dumper: _Dumper, data: list[Any] | tuple[Any, ...]) -> yaml.Node:
    flow = not any(isinstance(item, (dict, list)) for item in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flow)


_Dumper.add_representer(dict, _represent_mapping)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(tuple, _represent_list)


def _to_yaml(document: Mapping[str, Any], width: int = WIDTH) -> str:
    return yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, width=width, allow_unicode=True)


def _with_items(document: Mapping[str, Any], key: str, items: Sequence[str]) -> str:
    """A mapping as YAML where the items of one of its values, a sequence, are YAML already."""
    keys = list(document)
    place = keys.index(key)
    before, behind = ({name: document[name] for name in names} for names in (keys[:place], keys[place + 1 :]))
    listed = "".join("- " + item.removesuffix("\n").replace("\n", "\n  ") + "\n" for item in items)
    return f"{_part_to_yaml(before)}{key}:\n{listed}{_part_to_yaml(behind) if behind else ''}"


def _part_to_yaml(part: Mapping[str, Any], width: int = WIDTH) -> str:
    """A part of an architecture: a search writes the same ones again and again."""
    return _from_json(json.dumps(part), width)


@lru_cache(maxsize=4096)
def _from_json(text: str, width: int) -> str:
    return _to_yaml(json.loads(text), width)
