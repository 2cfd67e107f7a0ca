"""Imports go only downward: space < {proxies, supernet} < nas; heavy libraries come in at one door each."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import COMMANDS

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "space": {"space"},
    "proxies": {"space", "proxies"},
    "supernet": {"space", "supernet"},
    "nas": {"space", "proxies", "supernet", "nas"},
}
DOORS = {
    "optuna": ("nas/study/", "nas/samplers/", "nas/report/importance.py"),
    "ray": ("nas/execution/ray.py",),
    "fvcore": ("proxies/reference.py",),
}


def sources() -> list[Path]:
    return sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Top-level names of everything that a file imports, lazily or not."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it goes"
            yield str(node.module).partition(".")[0]


@pytest.mark.parametrize("path", sources(), ids=str)
def test_imports_go_downward_and_through_the_doors(path: Path) -> None:
    names = set(imported(path))
    upward = names & PACKAGES.keys() - PACKAGES[path.parts[0]]
    assert not upward, f"{path} imports {sorted(upward)}"
    for library, doors in DOORS.items():
        assert library not in names or str(path).startswith(doors), f"{path} imports {library}; only {', '.join(doors)} may"
    assert not names & {"experiments", "tests"}


def modules_loaded_by(code: str) -> set[str]:
    """Top-level modules in memory once a fresh interpreter has run some code, whose output is ignored."""
    report = f"""import sys
try:
    {code}
except SystemExit as end:
    assert not end.code, end.code
print(*sys.modules, file=sys.stderr)"""
    run = subprocess.run([sys.executable, "-c", report], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return {name.partition(".")[0] for name in run.stderr.split()}


def test_importing_the_space_loads_no_torch() -> None:
    assert not modules_loaded_by("import space") & {"torch", "timm", "optuna", "ray"}


def test_asking_for_help_loads_nothing_heavy() -> None:
    sweep = """
    import runpy
    for command in %r:
        sys.argv = [command, "--help"]
        try:
            runpy.run_module(f"nas.{command}", run_name="__main__")
        except SystemExit as end:
            assert not end.code, command
"""
    assert not modules_loaded_by((sweep % (COMMANDS,)).strip()) & {"torch", "timm", "optuna", "ray", "fvcore", "scipy"}


@pytest.mark.parametrize(
    "command",
    [
        "search --space hybrid-32 --budget 60MFLOPs",
        "train --space hybrid-32 --budget 60MFLOPs",
        "retrain davit-t --data digits --recipe deit",
    ],
)
def test_a_dry_run_loads_nothing_that_it_does_not_need(command: str) -> None:
    module, *options = f"nas.{command} --dry-run".split()
    loaded = modules_loaded_by(f"import runpy; sys.argv = {[module, *options]!r}; runpy.run_module({module!r}, run_name='__main__')")
    assert not loaded & {"timm", "torchvision", "optuna", "ray", "fvcore", "accelerate", "scipy", "sympy"}
