"""Imports go only downward: space < {proxies, supernet} < nas; heavy libraries come in at one door each."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
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


ORDER = {
    "nas": ("runs", "execution", "cli", "samplers", "draw", "study", "latency", "train", "export", "evaluators", "retrain", "report",
            "audit", "search", "compare", "join", "score", "profile", "convert"),
    "supernet": ("seeding", "score", "intervals", "data", "tasks", "training"),
    "proxies": ("cost", "band"),
}  # fmt: skip
"""Folders and files of a package from the bottom up: none imports one that stands behind it. All of `nas`, some of the others."""
MOST_ENTRIES = 20


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


def modules() -> dict[str, Path]:
    """All files of the packages by the name that they are imported by."""
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in sources()}


def imported_modules(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The files of the packages that a file imports, lazily or not."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield from (name for name in (whole if whole in known else str(node.module),) if name in known)


def test_no_file_imports_itself_by_way_of_others() -> None:
    known = modules()
    sorter = TopologicalSorter({name: set(imported_modules(path, known)) - {name} for name, path in known.items()})
    sorter.prepare()


@pytest.mark.parametrize("package", ORDER)
def test_arrows_between_the_folders_of_a_package_go_down(package: str) -> None:
    order, known = ORDER[package], modules()
    for name, path in known.items():
        here = name.split(".")
        if here[0] != package or len(here) < 2 or here[1] not in order:
            continue
        for target in imported_modules(path, known):
            there = target.split(".")
            if there[0] == package and len(there) > 1 and there[1] in order:
                assert order.index(there[1]) <= order.index(here[1]), f"{path} imports {target}, which stands above it"


def test_every_folder_of_nas_has_its_place_and_no_command_imports_another_ones_door() -> None:
    entries = {path.name.removesuffix(".py") for path in (ROOT / "nas").iterdir() if not path.name.startswith("__")}
    assert entries == set(ORDER["nas"])
    assert len(entries) <= MOST_ENTRIES
    known = modules()
    for path in known.values():
        doors = [name for name in imported_modules(path, known) if name.endswith(".__main__")]
        assert not doors, f"{path} imports {doors}"


SHARED_NAMES = {
    "run",  # what a command's file does with its config
    "split",  # of official weights into parts, of images into splits
}
"""Public names that several files may define: by convention they say the same everywhere."""


def test_a_public_name_means_one_thing() -> None:
    """In all packages, the public classes and functions of files; methods are told apart by their class."""
    places: dict[str, list[str]] = {}
    for path in sources():
        for node in ast.parse((ROOT / path).read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path))
    assert not {name: paths for name, paths in places.items() if len(paths) > 1 and name not in SHARED_NAMES}


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
            runpy.run_module(f"nas.{command}", run_name="__main__", alter_sys=True)
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
    run = f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    loaded = modules_loaded_by(f"import runpy; sys.argv = {[module, *options]!r}; {run}")
    assert not loaded & {"timm", "torchvision", "optuna", "ray", "fvcore", "scipy", "sympy"}
