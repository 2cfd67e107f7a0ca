"""The samplers as a package of OptunaHub keep the rules of its registry: files, front matter, `__all__`, an example that runs."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import optuna
import pytest
import yaml

from tests.commands import ROOT

PACKAGES = sorted(file.parent for file in (ROOT / "experiments" / "optunahub").glob("*/__init__.py"))
FRONT_MATTER = {"author", "title", "description", "tags", "optuna_versions", "license"}
SECTIONS = ("Abstract", "APIs", "Installation", "Example")


def loaded(package: Path) -> ModuleType:
    """The package as OptunaHub loads it: by its file, whatever its place."""
    spec = importlib.util.spec_from_file_location(f"optunahub_{package.name}", package / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_package_has_the_files_and_front_matter_of_the_registry(package: Path) -> None:
    assert {"README.md", "LICENSE", "__init__.py", "example.py", "requirements.txt"} <= {file.name for file in package.iterdir()}
    _, front, body = (package / "README.md").read_text().split("---\n", 2)
    matter = yaml.safe_load(front)
    assert matter.keys() == FRONT_MATTER
    assert all(isinstance(matter[name], list) and matter[name] for name in ("tags", "optuna_versions"))
    assert "sampler" in matter["tags"]
    assert [line.removeprefix("## ") for line in body.splitlines() if line.startswith("## ")] == list(SECTIONS)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_what_it_exports_is_there_and_named_in_its_page(package: Path) -> None:
    module, page = loaded(package), (package / "README.md").read_text()
    assert sorted(module.__all__) == list(module.__all__)
    assert all(f"`{name}(" in page for name in module.__all__)
    samplers = [getattr(module, name) for name in module.__all__ if name.endswith("Sampler")]
    assert samplers
    assert all(issubclass(sampler, optuna.samplers.BaseSampler) for sampler in samplers)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_its_example_runs(package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    hub = SimpleNamespace(load_module=lambda name: loaded(package) if name == f"samplers/{package.name}" else None)
    monkeypatch.setitem(sys.modules, "optunahub", hub)  # type: ignore[arg-type]
    found = runpy.run_path(str(package / "example.py"))
    study = found["study"]
    grams = [sum(found["GRAMS"][thing] for thing, packed in trial.params.items() if packed) for trial in study.trials]
    assert len(grams) == 12
    assert all(3000 <= weight <= 4000 for weight in grams)
    assert len({tuple(trial.params.items()) for trial in study.trials}) == 12
    assert str(study.best_value) in capsys.readouterr().out
