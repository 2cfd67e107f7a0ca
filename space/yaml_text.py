"""YAML text: reading that refuses what could exhaust time or memory, and writing with one line per block."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from space.errors import SpaceError, one_line

MAX_NODES = 50_000
"""Values in a file; an alias counts as all that it repeats."""
MAX_LEVELS = 50
"""Nesting of lists and mappings; an architecture has about ten levels."""
MAX_DIGITS = 40
"""Digits of a number: YAML allows a million, which take minutes to read."""
LINE_WIDTH = 160


def parse(text: str, where: str) -> Any:
    """Read YAML text; SpaceError names the line. `where` is the file's name in errors."""
    try:
        level = 0
        # Before nodes are composed: libyaml does that recursively, in C.
        for event in yaml.parse(text, Loader=_Loader):
            level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            _check_levels(level, event.start_mark)
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise SpaceError(f"{where}: not valid YAML: {line}{one_line(error.problem or error.context)}") from None
    except yaml.YAMLError as error:
        raise SpaceError(f"{where}: not valid YAML: {one_line(error)}") from None


def dump(document: Mapping[str, Any]) -> str:
    """Write a mapping as YAML, in the order of its keys."""
    return yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, width=LINE_WIDTH, allow_unicode=True)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Refuses duplicate keys, aliases that repeat too much, and scalars that Python cannot represent."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _measure(node, {})
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
            # For example a date that does not exist, or a tag that does not fit its text.
            raise _refusal(f"got {node.value!r:.60}, expected {kind!r:.60}", node.start_mark) from None


# YAML 1.1 reads 1e-6 as text and wants 1.0e-6; people write the former.
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789"))


def _measure(node: yaml.Node, measured: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Values and levels of a node with every alias written out; None in `measured` while a node is being measured."""
    if id(node) in measured:
        if (found := measured[id(node)]) is None:
            raise _refusal("got an alias inside its own anchor, expected one after its anchor's value", node.start_mark)
        return found
    measured[id(node)] = None
    children = [] if isinstance(node, yaml.ScalarNode) else node.value
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        children = [child for pair in children for child in pair]
    size, levels = 1, 1
    for child in children:
        child_size, child_levels = _measure(child, measured)
        size, levels = size + child_size, max(levels, 1 + child_levels)
    if max(size, len(measured)) > MAX_NODES:
        raise _refusal(f"got more values, expected at most {MAX_NODES} with all aliases written out", node.start_mark)
    _check_levels(levels, node.start_mark, " with all aliases written out")
    measured[id(node)] = size, levels
    return size, levels


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
        if key.value in seen:
            raise _refusal(f"the key {key.value!r:.60} is there twice", key.start_mark)
        seen.add(key.value)


def _check_levels(levels: int, mark: Any, counted: str = "") -> None:
    if levels > MAX_LEVELS:
        raise _refusal(f"got {levels} levels of lists and mappings, expected at most {MAX_LEVELS}{counted}", mark)


def _refusal(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Blocks and operators take one line each."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_mapping(dumper: _Dumper, data: dict[str, Any]) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style="type" in data or "mixer" in data)


def _represent_list(dumper: _Dumper, data: list[Any] | tuple[Any, ...]) -> yaml.Node:
    flow = not any(isinstance(item, (dict, list)) for item in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flow)


_Dumper.add_representer(dict, _represent_mapping)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(tuple, _represent_list)
