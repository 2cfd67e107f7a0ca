"""The notebook runs from its first cell to its last, in a kernel of its own."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
SMALL = {
    "steps=60, trials=16": "steps=3, trials=6, batch_size=16, workers=1", "halving_steps=40": "halving_steps=4", "epochs=15": "epochs=1",
}  # fmt: skip
"""What makes it quick."""


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(ROOT / "docs" / "first-search.ipynb", as_version=4)
    assert all(cell.get("outputs") for cell in notebook.cells if cell.cell_type == "code"), "it is committed with what it showed"
    for cell in notebook.cells:
        for long, small in SMALL.items():
            cell.source = cell.source.replace(long, small)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    done = NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = "".join(output.get("text", "") for cell in done.cells for output in cell.get("outputs", ()))
    assert "test images" in shown
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"notebook", "notebook-retrained"}
