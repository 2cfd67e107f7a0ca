"""`nas.search.search` in Python: with a caller's data set and a caller's evaluator, what it gives back, and how it fails."""

from __future__ import annotations

import html
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from nas.execution.loop import MAX_ATTEMPTS, JobError
from nas.search import __main__ as command_line
from nas.search import search
from nas.search.found import Found
from space.architecture import Architecture
from supernet.data.sources import kinds
from tests.nas.evaluators import Raising, share_of
from tests.nas.small_search import BUDGET, command, study_of

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, sys
import numpy as np
import torch
from nas.search import search

class Coloured:
    classes = ["ant", "bee"]

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        return np.full((32, 32, 3), 200 * (number % 2) + number % 50, np.uint8), number % 2

def share_of(architecture):
    return int(architecture.fingerprint[:8], 16) / 2**32

kind, trials, count, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
options = {"evaluator": share_of} if kind == "caller" else {"steps": 3, "batch_size": 8, "halving_candidates": 2, "halving_steps": 4}
found = search("3MFLOPs", space="tiny.yaml", floor=0.5, data=Coloured(count), trials=trials, keep=2, out=out, **options)
best = found.best
values = {
    "fingerprint": best.architecture.fingerprint, "classes": best.architecture.num_classes, "macs": best.cost.macs,
    "score": best.score.log_likelihood, "images": best.score.num_images,
    "trials": [trial.value for trial in found.study.trials], "written": len(found.architectures),
    "outputs": list(best.network()(torch.zeros(1, 3, 32, 32)).shape),
    "halving": found.halving and found.halving.winner.fingerprint,
}
print(json.dumps(values))
"""


def run_script(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the script, as a user would, in a process of its own."""
    (folder / "script.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "script.py", *map(str, arguments)]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)


def values_of(done: subprocess.CompletedProcess[str]) -> Mapping[str, Any]:
    assert done.returncode == 0, done.stderr
    values: Mapping[str, Any] = json.loads(done.stdout)
    return values


def test_a_script_searches_its_own_data_with_its_own_evaluator_and_goes_on(folder: Path) -> None:
    first = values_of(run_script(folder, "caller", 3, 40, "run"))
    assert len(first["trials"]) == 3
    assert first["score"] == max(first["trials"]) == int(first["fingerprint"][:8], 16) / 2**32
    assert (first["images"], first["classes"], first["written"], first["outputs"]) == (0, 2, 2, [1, 2])
    assert 1_500_000 <= first["macs"] <= 3_000_000
    longer = values_of(run_script(folder, "caller", 5, 40, "run"))
    assert longer["trials"][:3] == first["trials"]
    assert len(longer["trials"]) == 5
    assert [trial.value for trial in study_of(folder / "run").trials] == longer["trials"]
    whole = values_of(run_script(folder, "caller", 5, 40, "whole"))
    assert whole == longer
    page = " ".join(html.unescape((folder / "run" / "report.html").read_text()).split())
    for printed in (
        "This call repeats the search", "search('3MFLOPs', ", "data=...", "evaluator=__main__.share_of", "<th>score</th>",
        f"<td>{longer['score']:.3f}</td>", "the number that __main__.share_of returned; greater is better.",
    ):  # fmt: skip
        assert printed in page, printed
    assert "ranking accuracy" not in page.lower()
    assert "0 search images" not in page
    other = run_script(folder, "caller", 5, 44, "run")
    assert other.returncode != 0
    assert "holds a run with data" in other.stderr.splitlines()[-1]
    assert len(study_of(folder / "run").trials) == 5


def test_a_script_searches_its_own_data_with_a_supernet(folder: Path) -> None:
    found = values_of(run_script(folder, "supernet", 3, 60, "run"))
    assert found["images"] == 12
    assert found["score"] in found["trials"]
    assert found["halving"] == found["fingerprint"]


def searched(folder: Path, out: str, evaluator: Callable[[Architecture], float], **options: Any) -> Found:
    small = {"space": str(folder / "tiny.yaml"), "floor": 0.5, "data": folder / "images", "trials": 5, "keep": 2}
    return search(BUDGET, out=folder / out, evaluator=evaluator, **small, **options)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_evaluator_that_raises_for_one_architecture_costs_its_trial(
    folder: Path, workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = searched(folder, "whole", share_of)
    victim = whole.study.trials[2].user_attrs["fingerprint"]
    evaluator = Raising(folder / "log", victim)
    capfd.readouterr()
    found = searched(folder, "run", evaluator, workers=workers, progress=True)
    trials = found.study.trials
    assert [trial.state.name for trial in trials].count("COMPLETE") == 5
    (failed,) = [trial for trial in trials if trial.state.name == "FAIL"]
    assert failed.user_attrs["fingerprint"] == victim
    reason = "ArithmeticError: not a number of any kind"
    assert failed.user_attrs["failure"] == reason
    begun = [line.split()[0] for line in evaluator.log.read_text().splitlines()]
    assert {fingerprint: begun.count(fingerprint) for fingerprint in begun} == {
        trial.user_attrs["fingerprint"]: MAX_ATTEMPTS if trial is failed else 1 for trial in trials
    }
    said = capfd.readouterr()
    assert f"1 evaluations failed, the first (trial {failed.number}) since {reason}" in said.out
    # And where it comes from, once.
    assert said.err.count("in __call__\n    raise ArithmeticError") == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_an_evaluator_that_always_raises_ends_a_search_with_its_traceback(folder: Path, workers: int) -> None:
    with pytest.raises(JobError, match=r"(?s)failures in a row.*Traceback.*evaluators.py.*in __call__.*ArithmeticError: not a number"):
        searched(folder, "run", Raising(folder / "log"), workers=workers)
    assert not (folder / "run" / "best.yaml").exists()


def test_an_evaluator_that_gives_no_number_is_told(folder: Path) -> None:
    with pytest.raises(JobError, match=r"got 'good' for .*, expected a finite number or a Score"):
        searched(folder, "run", lambda architecture: "good")  # type: ignore[arg-type, return-value]


def test_a_command_opens_its_data_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[Path, str]] = []
    stored = kinds._stored

    def counted(path: Path, part: str, *more: Any) -> Any:
        opened.append((path, part))
        return stored(path, part, *more)

    monkeypatch.setattr(kinds, "_stored", counted)
    assert command_line.main(command(folder, "--halving-candidates", "2", "--halving-steps", "2")) == 0
    # The test part is opened for what the last rung says of test images.
    assert opened == [(folder / "images", kinds.TRAIN), (folder / "images", kinds.TEST)]
    opened.clear()
    alone = ["--evaluator", "standalone", "--standalone-steps", "1", "--out", str(folder / "alone")]
    assert command_line.main(command(folder, *alone, trains=False)) == 0
    assert opened == [(folder / "images", kinds.TRAIN)]
