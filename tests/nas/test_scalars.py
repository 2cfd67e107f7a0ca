"""TensorBoard shows every step of a training once, however it was interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.cli.trackers import scalars
from nas.cli.trackers.scalars import LOSS, RATE, SKIPPED, SPEED, VALIDATION, Scalars
from nas.cli.trackers.tensorboard import FOLDER
from nas.retrain import __main__ as retrain
from nas.train import __main__ as train
from space.files import dump_architecture, parse_space
from supernet.training.step import StepReport
from tests.nas.event_files import shown
from tests.nas.small_search import SPACE

STEPS = 12


def report(step: int, loss: float = 0.5, skipped: int = 0) -> StepReport:
    return StepReport(step, loss, 0.1, skipped, 0.5, None)


def test_what_was_written_after_the_checkpoint_is_forgotten_and_nothing_before_it(tmp_path: Path) -> None:
    with Scalars(tmp_path, STEPS, batch_size=4) as first:
        for step in range(1, 9):
            first.follow(report(step, loss=1.0))
            if step == 5:
                first.flush()
    # As after a kill: a checkpoint of step 5 is the last one.
    with Scalars(tmp_path, STEPS, batch_size=4) as second:
        for step in range(6, STEPS + 1):
            second.follow(report(step, loss=2.0))
    found = shown(tmp_path / FOLDER)
    assert found[LOSS] == {step: 1.0 if step <= 5 else 2.0 for step in range(1, STEPS + 1)}
    assert found[RATE].keys() == found[LOSS].keys()
    assert found[SPEED] == dict.fromkeys(found[LOSS], 8.0)


def test_a_training_that_is_rolled_back_is_shown_as_it_continued(tmp_path: Path) -> None:
    with Scalars(tmp_path, STEPS, batch_size=4) as written:
        for step in (*range(1, 8), *range(5, STEPS + 1)):
            written.follow(report(step, skipped=step))
    assert [*shown(tmp_path / FOLDER)[SKIPPED]] == [*range(1, STEPS + 1)]


def test_a_skipped_step_has_no_loss_and_is_counted(tmp_path: Path) -> None:
    with Scalars(tmp_path, 3, batch_size=4) as written:
        for step, loss in ((1, 0.5), (2, float("nan")), (3, 0.5)):
            written.follow(report(step, loss, skipped=int(step >= 2)))
    found = shown(tmp_path / FOLDER)
    assert found[LOSS].keys() == {1, 3}
    assert found[SKIPPED] == {1: 0.0, 2: 1.0, 3: 1.0}


def test_long_trainings_write_no_more_than_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scalars, "POINTS", 10)
    with Scalars(tmp_path, 100, batch_size=4) as written:
        for step in range(1, 101):
            written.follow(report(step))
    assert [*shown(tmp_path / FOLDER)[LOSS]] == [*range(10, 101, 10)]


def test_a_supernet_and_a_retraining_write_theirs(folder: Path) -> None:
    fixed = ["--space", str(folder / "tiny.yaml"), "--data", str(folder / "images")]
    assert train.main([*fixed, "--steps", "3", "--batch-size", "8", "--out", str(folder / "run")]) == 0
    assert shown(folder / "run" / FOLDER)[LOSS].keys() == {1, 2, 3}
    (folder / "small.yaml").write_text(dump_architecture(parse_space(SPACE, "tiny").smallest()))
    options = ["--data", str(folder / "images"), "--epochs", "2", "--batch-size", "24", "--out", str(folder / "retrained")]
    assert retrain.main([str(folder / "small.yaml"), *options]) == 0
    found = shown(folder / "retrained" / FOLDER)
    steps = max(found[LOSS])
    assert found[LOSS].keys() == set(range(1, steps + 1))
    assert found[f"{VALIDATION} accuracy"].keys() == {steps // 2, steps}
