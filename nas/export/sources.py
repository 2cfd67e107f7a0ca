"""Whole modules of Python, one after the other, as the text of a file that needs PyTorch alone.

A module is copied with its comments, after the modules that it imports. Only its import statements are left out, and a
name that another module has already defined gets a number.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from importlib.util import resolve_name

from nas.export.format import ExportError

AT_HAND = sys.stdlib_module_names | {"torch"}
"""Packages that whoever runs the file has."""
DECLARING = frozenset({"pydantic", "space.kinds", "space.registry"})
"""Modules that declare which options operators may have. An operator with given options runs without them."""
DECLARATION = '''class _Declaration:
    """A substitute for registries and types of options, which an operator with given options does not need."""

    def register(self, *_: object, **__: object) -> Any:
        return lambda operator: operator

    def __call__(self, *_: object, **__: object) -> _Declaration:
        return self
'''


WRITTEN = (("pathlib", "Path"), ("typing", "Any"))
"""What the text around the modules names, by module and name."""


class Sources:
    """Collects modules."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, str]] = {}
        """By module, the names in it and what the file calls them."""
        self._imported: dict[tuple[str, str], str] = {(module, name): name for module, name in WRITTEN}
        """What the file calls something that is not copied, by its module and its name there, which is empty for the module itself."""
        self._texts: list[str] = []

    def name_of(self, definition: type) -> str:
        """What the file calls a class; its module, and those that this needs, are copied.

        Raises:
            ExportError: they need a package that whoever runs the file need not have.
        """
        return self._copy(definition.__module__)[definition.__name__]

    def text(self) -> str:
        """The file: imports, the substitute for declarations, and the modules, each after those that it imports."""
        declared = [name for (origin, _), name in self._imported.items() if origin in DECLARING]
        return "\n\n\n".join([
            "\n".join(self._import_statements()),
            DECLARATION + "\n\n" + " = ".join([*sorted(declared), "_Declaration()"]),
            *self._texts,
        ])  # fmt: skip

    def _import_statements(self) -> list[str]:
        statements = []
        for (origin, attribute), name in self._imported.items():
            if origin not in DECLARING:
                renamed = f" as {name}" if name != (attribute or origin) else ""
                statements.append(f"from {origin} import {attribute}{renamed}" if attribute else f"import {origin}{renamed}")
        return sorted(statements, key=lambda statement: (statement.startswith("from"), statement))

    def _copy(self, module: str) -> dict[str, str]:
        """Append a module if it is not there yet; returns its names and what the file calls them."""
        if module not in self._names:
            text = inspect.getsource(importlib.import_module(module))
            body = ast.parse(text).body
            names: dict[str, str] = {}
            lines = text.splitlines()
            for node in body:
                if isinstance(node, ast.Import | ast.ImportFrom):
                    names |= self._names_imported_by(node, module)
                    assert node.end_lineno is not None
                    lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
            names |= {name: self._free(name) for name in sorted(_defined_by(body))}
            self._names[module] = names
            self._texts.append(f"# {module}\n\n" + _renamed("\n".join(lines), names))
        return self._names[module]

    def _names_imported_by(self, node: ast.Import | ast.ImportFrom, module: str) -> dict[str, str]:
        """The names that an import statement binds, and what the file calls them; copies the modules of operators among them."""
        if isinstance(node, ast.Import):
            return {alias.asname or alias.name: self._given(alias.name, "", alias.asname or alias.name, module) for alias in node.names}
        origin = resolve_name("." * node.level + (node.module or ""), sys.modules[module].__package__)
        if origin == "__future__":
            return {}
        package = origin.partition(".")[0]
        if origin not in DECLARING and package in {"space", "nas", module.partition(".")[0]}:
            theirs = self._copy(origin)
            return {alias.asname or alias.name: theirs[alias.name] for alias in node.names}
        return {alias.asname or alias.name: self._given(origin, alias.name, alias.asname or alias.name, module) for alias in node.names}

    def _given(self, origin: str, attribute: str, name: str, module: str) -> str:
        """What the file calls something that is not copied."""
        if origin not in DECLARING and origin.partition(".")[0] not in AT_HAND:
            raise ExportError(f"{module}: got a need of {origin}, expected none of anything but torch: such an operator has no single file")
        if (origin, attribute) not in self._imported:
            self._imported[origin, attribute] = self._free(name)
        return self._imported[origin, attribute]

    def _free(self, name: str) -> str:
        taken = {*self._imported.values(), *(new for names in self._names.values() for new in names.values())}
        return next(new for new in (name, *(f"{name}_{number}" for number in range(2, 1000))) if new not in taken)


def _defined_by(body: list[ast.stmt]) -> set[str]:
    """The names that the statements of a module define, imports aside."""
    names = set()
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
    return names


def _renamed(text: str, names: dict[str, str]) -> str:
    """A module's text with the file's names, and without blank lines where its imports were."""
    changed = {old: new for old, new in names.items() if old != new}
    if changed:
        words = "|".join(map(re.escape, changed))
        text = re.sub(rf"(?<![\w.])({words})(?!\w)", lambda found: changed[found[0]], text)
    return re.sub(r"\n{4,}", "\n\n\n", text).strip()
