"""Definitions cut out of this package's modules, with all that they need, for a file that stands alone.

What a definition needs is told by the names in it, followed through the modules' imports. Text is copied as it stands,
comments included, but for what only this package has a use for: registrations, the methods named in `DROPPED`, and annotations
and defaults that name what the file does not have.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from nas.export.format import ExportError

DROPPED = frozenset({"out_size", "init_weights"})
FUSING = frozenset({"fused", "first_linears", "last_linear"})
AT_HAND = sys.stdlib_module_names | {"torch"}
"""Packages that whoever runs the file has."""

_Definition = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class _Module:
    """A module's text, and what its names stand for: a definition, or where it is imported from."""

    text: str
    definitions: dict[str, _Definition]
    imports: dict[str, tuple[str, str | None]]


class Sources:
    """Collects definitions.

    Args:
        dropped: names of methods and class attributes that are left out.
    """

    def __init__(self, dropped: frozenset[str]) -> None:
        self._dropped = dropped
        self._names: dict[tuple[str, str], str] = {}
        self._texts: list[str] = []
        self._imports: set[tuple[str, str | None, str]] = set()

    def add(self, module: str, name: str) -> str:
        """Take a definition and all that it needs; returns its name in the file.

        Raises:
            ExportError: it needs a package that is not there.
        """
        key = (module, name)
        if key not in self._names:
            taken = set(self._names.values())
            self._names[key] = next(new for new in (name, *(f"{name}_{i}" for i in range(2, 100))) if new not in taken)
            # Behind what it needs.
            self._texts.append(self._cut(module, _read(module).definitions[name], self._names[key]))
        return self._names[key]

    def imports(self) -> str:
        """The import statements of the file, sorted."""
        whole = sorted(f"import {module}" + (f" as {name}" if name != module else "") for module, one, name in self._imports if not one)
        parts: dict[str, list[str]] = {}
        for module, one, name in sorted(self._imports, key=str):
            if one:
                parts.setdefault(module, []).append(one if one == name else f"{one} as {name}")
        return "\n".join([*whole, *(f"from {module} import {', '.join(names)}" for module, names in sorted(parts.items()))])

    def definitions(self) -> str:
        """The definitions, each behind what it needs."""
        return "\n\n\n".join(self._texts)

    def _cut(self, module: str, node: _Definition, name: str) -> str:
        source = _read(module)
        edits: list[tuple[int, int, str]] = []
        skipped: list[ast.AST] = []

        def drop(found: ast.expr, start: int) -> None:
            edits.append((start, source_end(found), ""))
            skipped.append(found)

        starts = _line_starts(source.text)

        def place(line: int, column: int) -> int:
            # Columns count bytes.
            text = source.text[starts[line - 1] :].split("\n", 1)[0].encode()[:column].decode()
            return starts[line - 1] + len(text)

        def source_start(found: ast.expr | ast.stmt | ast.arg) -> int:
            return place(found.lineno, found.col_offset)

        def source_end(found: ast.expr | ast.stmt | ast.arg) -> int:
            assert found.end_lineno is not None
            assert found.end_col_offset is not None
            return place(found.end_lineno, found.end_col_offset)

        for part in ast.walk(node):
            if isinstance(part, ast.ClassDef):
                for statement in part.body:
                    if _names_of(statement) & self._dropped:
                        skipped.append(statement)
                        edits.append((*_whole_lines(source.text, statement, starts), ""))
                skipped += [decorator for decorator in part.decorator_list if _registers(decorator)]
            if isinstance(part, ast.FunctionDef):
                for argument, default in _arguments(part.args):
                    end = source_start(argument) + len(argument.arg)
                    if default is not None and not self._is_at_hand(module, default):
                        drop(default, source_end(argument))
                        default = None
                    if argument.annotation is not None and not self._is_at_hand(module, argument.annotation):
                        drop(argument.annotation, end)
                        if default is not None:
                            edits.append((source_end(argument.annotation), source_start(default), "="))
                if part.returns is not None and not self._is_at_hand(module, part.returns):
                    drop(part.returns, source.text.rindex("->", 0, source_start(part.returns)) - 1)
        for used in _used_names(node, skipped):
            new = self._resolve(module, used.id)
            if new != used.id:
                edits.append((source_start(used), source_end(used), new))
        start, end = source_start(node), source_end(node)
        text = source.text[start:end]
        for first, last, replacement in sorted((edit for edit in edits if start <= edit[0] < end), reverse=True):
            text = text[: first - start] + replacement + text[last - start :]
        (old,) = _names_of(node)
        return re.sub(rf"\b{old}\b", name, text, count=1).rstrip()

    def _resolve(self, module: str, name: str) -> str:
        """What a global name of a module is called in the file, which then has it."""
        source = _read(module)
        if name in source.definitions:
            return self.add(module, name)
        if name not in source.imports:
            return name
        origin, one = source.imports[name]
        if origin.partition(".")[0] in AT_HAND:
            self._imports.add((origin, one, name))
            return name
        if one is None or not _is_ours(origin, module):
            raise ExportError(f"{module}: got a need of {origin}, expected none of anything but torch: such an operator has no single file")
        return self.add(origin, one)

    def _is_at_hand(self, module: str, expression: ast.expr) -> bool:
        """Whether an annotation or a default names only what every file has."""
        source = _read(module)
        names = {part.id for part in _used_names(expression, [])}
        imported = {name for name in names if name in source.imports and source.imports[name][0].partition(".")[0] in AT_HAND}
        return all(name in imported or hasattr(builtins, name) for name in names)


@lru_cache
def _read(module: str) -> _Module:
    text = inspect.getsource(importlib.import_module(module))
    definitions: dict[str, _Definition] = {}
    imports: dict[str, tuple[str, str | None]] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import):
            imports |= {alias.asname or alias.name: (alias.name, None) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
        elif isinstance(node, _Definition):
            definitions |= dict.fromkeys(_names_of(node), node)
    return _Module(text, definitions, imports)


def _names_of(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _used_names(node: ast.AST, skipped: list[ast.AST]) -> Iterator[ast.Name]:
    """The names that a definition reads and does not bind itself."""
    left_out = {id(part) for root in skipped for part in ast.walk(root)}
    parts = [part for part in ast.walk(node) if id(part) not in left_out]
    bound = {part.arg for part in parts if isinstance(part, ast.arg)}
    bound |= {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    for part in parts:
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) and part.id not in bound:
            yield part


def _arguments(arguments: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """All parameters, each with its default."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [*[None] * (len(positional) - len(arguments.defaults)), *arguments.defaults]
    yield from zip(positional, defaults, strict=True)
    yield from zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    yield from ((argument, None) for argument in (arguments.vararg, arguments.kwarg) if argument is not None)


def _registers(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute) and decorator.func.attr == "register"


def _is_ours(origin: str, module: str) -> bool:
    """Whether a module is of the package whose text may be copied: this one's operators, or the importing module's own."""
    return origin.partition(".")[0] in {"space", "nas", module.partition(".")[0]}


def _line_starts(text: str) -> list[int]:
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def _whole_lines(text: str, statement: ast.stmt, starts: list[int]) -> tuple[int, int]:
    """From the end of the line before a statement, its decorators, comments and the blank lines before them, to its end."""
    decorators = statement.decorator_list if isinstance(statement, ast.FunctionDef | ast.ClassDef) else []
    first = min([statement.lineno, *(decorator.lineno for decorator in decorators)]) - 1
    lines = text.splitlines()
    while not lines[first - 1].strip() or lines[first - 1].lstrip().startswith("#"):
        first -= 1
    assert statement.end_lineno is not None
    return starts[first] - 1, starts[statement.end_lineno] - 1
