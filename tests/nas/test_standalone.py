"""Stand-alone trainings: done once, equal wherever they run, and distinguished by all their conditions."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from nas.evaluators import standalone
from nas.evaluators.standalone import train_all, training_alone
from nas.evaluators.trainings import Conditions, Trained, Training
from nas.execution.resources import Resources
from nas.execution.workers import open_workers
from nas.train.supernet_run import SupernetRun
from space.files import load_space
from supernet.training import compilation
from supernet.training.checkpoint import save_checkpoint
from supernet.training.distributed import own_device
from supernet.training.loop import train_network
from supernet.training.state import TrainState
from supernet.training.step import StepReport
from tests.pictures import write_pictures

SPACE = load_space("hybrid-32").replace(num_classes=3)
SMALL, LARGER = SPACE.smallest(), SPACE.replay(SPACE.parameters_of(SPACE.smallest()) | {"stage1.depth": 2})


@pytest.fixture(scope="module")
def conditions(tmp_path_factory: pytest.TempPathFactory) -> Conditions:
    folder = tmp_path_factory.mktemp("standalone")
    write_pictures(folder / "images" / "train", count=20)
    return Conditions(SupernetRun(folder, SPACE, str(folder / "images"), 32, seed=0), batch_size=4, folder=folder / "trainings")


def ignore(*_: object) -> None:
    """What follows a training is of no interest."""


def do(
    conditions: Conditions,
    *trainings: Training,
    resources: Resources = Resources(),
    on_result: Callable[[Training, Trained, bool], None] = ignore,
) -> list[Trained]:
    with open_workers(partial(training_alone, conditions), resources, conditions.folder / "ray") as workers:
        train_all(conditions, trainings, workers, on_result).check()
    done = [conditions.result_of(training) for training in trainings]
    return [result for result in done if result is not None]


def test_a_training_learns_and_keeps_its_curve(conditions: Conditions) -> None:
    (result,) = do(conditions, Training(SMALL, 12, 0, curve=(1, 6)))
    assert list(result.curve) == [1, 6]
    assert result.score.num_images == result.curve[1].num_images == len(conditions.run.images()[1].search)
    # Classes that differ in colour are learnt at once.
    assert result.score.log_likelihood > result.curve[1].log_likelihood
    assert (result.fingerprint, result.steps, result.seed) == (SMALL.fingerprint, 12, 0)
    assert result.core_seconds > 0


def test_what_is_done_is_not_done_again(conditions: Conditions, monkeypatch: pytest.MonkeyPatch) -> None:
    trainings = [Training(SMALL, 2, 0), Training(LARGER, 2, 0)]
    first = do(conditions, *trainings)
    monkeypatch.setattr(standalone, "train_network", None)
    seen: list[tuple[Training, Trained, bool]] = []
    assert do(conditions, *trainings, on_result=lambda *result: seen.append(result)) == first
    assert seen == list(zip(trainings, first, [True, True], strict=True))


def test_an_interruption_keeps_what_is_done(conditions: Conditions) -> None:
    trainings = [Training(SMALL, 3, seed) for seed in (10, 11, 12)]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        do(conditions, *trainings, on_result=interrupt)
    assert [conditions.file_of(training).exists() for training in trainings] == [True, False, False]


@pytest.mark.usefixtures("saving_every_step")
def test_a_training_resumes_from_its_checkpoint(conditions: Conditions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(SMALL, 6, 15, curve=(1, 2, 5))
    (whole,) = do(conditions, training)
    begun = replace(conditions, folder=tmp_path)
    steps: list[int] = []

    def interrupted(*arguments: object, on_step: Callable[[StepReport], None], **options: object) -> TrainState:
        def follow(report: StepReport) -> None:
            on_step(report)
            steps.append(report.step)
            if len(steps) == 3:
                signal.raise_signal(signal.SIGINT)

        return train_network(*arguments, on_step=follow, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(standalone, "train_network", interrupted)
    with pytest.raises(KeyboardInterrupt):
        do(begun, training)
    (parts,) = do(begun, training)
    assert steps == [1, 2, 3, 4, 5, 6]
    assert replace(parts, core_seconds=whole.core_seconds) == whole
    assert list(tmp_path.iterdir()) == [begun.file_of(training)]


def test_a_training_is_compiled_where_the_conditions_allow_it_and_is_the_same_training(
    conditions: Conditions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no compiler")

    monkeypatch.setattr(compilation, "MIN_STEPS", {own_device().type: 2})
    monkeypatch.setattr(compilation, "BACKEND", fail)
    allowed = replace(conditions, folder=tmp_path)
    forbidden = replace(allowed, may_compile=False)
    (one,) = do(forbidden, Training(SMALL, 2, 30))
    assert capsys.readouterr().err == ""
    assert do(allowed, Training(SMALL, 2, 30)) == [one]
    do(allowed, Training(SMALL, 2, 31))
    assert "compile: torch.compile failed" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"damaged", "another training's"])
def test_a_training_with_a_damaged_checkpoint_starts_over(conditions: Conditions, tmp_path: Path, content: bytes | str) -> None:
    training, begun = Training(SMALL, 2, 16), replace(conditions, folder=tmp_path)
    (whole,) = do(conditions, training)
    file = begun.checkpoint_of(training)
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        save_checkpoint(file, {"model/weight": torch.ones(1)}, {"step": 1})
    (again,) = do(begun, training)
    assert replace(again, core_seconds=whole.core_seconds) == whole
    assert list(tmp_path.iterdir()) == [begun.file_of(training)]


def test_a_damaged_result_is_computed_again(conditions: Conditions) -> None:
    training = Training(SMALL, 2, 17)
    (first,) = do(conditions, training)
    for content in (b"", b"[]", conditions.file_of(training).read_bytes()[:-20]):
        conditions.file_of(training).write_bytes(content)
        (again,) = do(conditions, training)
        assert again.score == first.score


@pytest.mark.parametrize("resources", [
    Resources(2), pytest.param(Resources(2, "ray", gpus=0), marks=pytest.mark.soak)
], ids=["processes", "ray"])  # fmt: skip
def test_where_it_runs_does_not_change_a_result(conditions: Conditions, tmp_path: Path, resources: Resources) -> None:
    trainings = [Training(SMALL, 3, 20), Training(LARGER, 3, 20)]
    here = do(conditions, *trainings)
    apart = do(replace(conditions, folder=tmp_path), *trainings, resources=resources)
    assert [result.score for result in here] == [result.score for result in apart]


@pytest.mark.parametrize("change", [{"steps": 3}, {"seed": 31}, {"architecture": LARGER}, {"curve": (1,)}])
def test_another_training_is_another_file(conditions: Conditions, change: dict) -> None:
    training = Training(SMALL, 2, 30)
    assert conditions.file_of(training) != conditions.file_of(replace(training, **change))
    assert conditions.file_of(training) == conditions.file_of(replace(training, architecture=SMALL.replace(name="other")))


def test_other_conditions_are_other_files(conditions: Conditions) -> None:
    training, run = Training(SMALL, 2, 40), conditions.run
    others = [replace(run, data="digits"), replace(run, image_size=64), replace(run, seed=1)]
    files = {replace(conditions, run=other).file_of(training) for other in others} | {
        replace(conditions, **changed).file_of(training) for changed in ({"batch_size": 8}, {"precision": "bf16"})
    }
    assert len(files | {conditions.file_of(training)}) == 6


def test_a_training_in_bf16_is_scored_in_bf16(conditions: Conditions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training, seen = Training(SMALL, 2, 41), set()
    judge = standalone.judge

    def watched(*arguments: object) -> object:
        seen.add(torch.is_autocast_enabled(own_device().type))
        return judge(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(standalone, "judge", watched)
    results = {precision: do(replace(conditions, folder=tmp_path, precision=precision), training)[0] for precision in ("fp32", "bf16")}
    assert seen == {False, True}
    assert results["fp32"].score != results["bf16"].score
    assert results["bf16"].score.log_likelihood == pytest.approx(results["fp32"].score.log_likelihood, abs=0.1)


def test_seeds_differ(conditions: Conditions) -> None:
    a, b = do(conditions, Training(SMALL, 2, 50), Training(SMALL, 2, 51))
    assert a.score != b.score
