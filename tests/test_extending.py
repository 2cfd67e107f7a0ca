"""Adding a mixer, a zero-cost score or a task is one new file: from then on every contract sweeps it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT
from tests.documents import snippets

MIXER, SCORE = snippets("extending.md")

TASK = '''
from supernet.data.image_set import ImageSet
from supernet.data.images import open_images
from supernet.tasks.classification import Classification
from supernet.tasks.task import register_task


class Ordered(ImageSet):
    """Images whose classes have an order."""

    @property
    def task(self):
        return "ordinal"


class Ordinal(Classification):
    name = "ordinal"

    def example(self):
        digits = open_images("digits")
        return Ordered("ordered digits", digits.class_names, digits.labels, digits.rows, digits.reader)


register_task(Ordinal())
'''

RECORDER = """import os
from pathlib import Path

NEW = os.environ["NEW"]

def pytest_collection_modifyitems(config, items):
    Path(__file__).with_name("collected.txt").write_text("\\n".join(item.nodeid for item in items))
    items[:] = [item for item in items if NEW in item.nodeid]
"""


def sweep(tests: str, name: str, source: str, folder: Path) -> tuple[list[str], set[str]]:
    """All tests that pytest finds with a new file, and those for it that pass."""
    (folder / f"{name}.py").write_text(source)
    (folder / "recorder.py").write_text(RECORDER)
    plugins = [argument for plugin in (name, "recorder", "no:cacheprovider") for argument in ("-p", plugin)]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", tests, *plugins, "-o", "addopts=", "-v"],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(folder), "NEW": name}, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    return (folder / "collected.txt").read_text().splitlines(), {
        line.partition(" PASSED")[0] for line in run.stdout.splitlines() if " PASSED" in line
    }


@pytest.mark.parametrize(("tests", "name", "source", "like"), [
    ("tests/contracts", "pooling", MIXER, "global_mhra"),
    ("tests/contracts/test_tasks.py", "ordinal", TASK, "classification"),
    pytest.param("tests/proxies/test_zero_cost.py", "steepest", SCORE, "az_trainability", marks=pytest.mark.soak),
], ids=["mixer", "task", "score"])  # fmt: skip
def test_every_contract_sweeps_one_new_file(tests: str, name: str, source: str, like: str, tmp_path: Path) -> None:
    collected, passed = sweep(tests, name, source, tmp_path)
    swept_by = {one: {test.partition("[")[0] for test in collected if one in test} for one in (name, like)}
    assert len(swept_by[name]) >= 5
    assert swept_by[name] == swept_by[like]
    assert passed == {test for test in collected if name in test}
