"""Searches and trainings that are killed: the same command again, as often as it takes, comes to the same end as if nothing had been."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from optuna.trial import TrialState
from safetensors import safe_open
from safetensors.torch import load_file

from nas.cli.tensorboard import FOLDER, LOSS, RATE, SKIPPED, VALIDATION
from nas.evaluators.standalone import Conditions, Training, train_all, training_alone
from nas.execution.in_process import InProcess
from nas.retrain import __main__ as retrain
from nas.runs.records.finals import read_finals
from nas.runs.storage_url import journal_url
from nas.search import __main__ as search
from nas.study.record import open_study
from nas.study.storage import open_storage
from nas.train.supernet_run import SupernetRun
from space import load_architecture
from space.files import dump_architecture, load_space
from supernet.training import engine
from tests.killing import Command, moments, run_killed, run_whole, running
from tests.nas.event_files import shown
from tests.nas.small_search import SPACE as SMALL_SPACE
from tests.nas.small_search import command as search_command
from tests.nas.small_search import rows_of
from tests.pictures import write_pictures

SPACE = load_space("hybrid-32").replace(num_classes=3)
RECIPE = """
schema: recipe/1
epochs: 4
batch_size: 6
lr: 3.0e-3
warmup_epochs: 1.0
mixup: 0.2
drop_path: 0.1
ema_decay: 0.5
min_area: 0.8
erase: 0.1
validation: 0.2
"""
TRAININGS = (Training(SPACE.smallest(), 12, 0, curve=(2, 5, 9)), Training(SPACE.smallest(), 8, 1))
Made = dict[str, object]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, a recipe and an architecture."""
    folder = tmp_path_factory.mktemp("kills")
    write_pictures(folder / "set" / "train", count=10)
    write_pictures(folder / "set" / "val", count=10)
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "tiny.yaml").write_text(dump_architecture(SPACE.smallest()))
    return folder


def save_often() -> None:
    """Half of the time goes into checkpoints: kills fall between them and into them."""
    engine.SECONDS_UNSAVED, engine.WRITING_SHARE, engine.LANDMARK_STEPS = 0.0, 0.5, 5


def retraining(argv: Sequence[str]) -> int:
    save_often()
    return retrain.main(argv)


def retraining_options(work: Path, out: Path) -> list[str]:
    return [str(work / "tiny.yaml"), "--data", str(work / "set"), "--recipe", str(work / "recipe.yaml"), "--out", str(out)]


def content_of(file: Path) -> object:
    """A file's bytes; of tensors each by itself, so that a failure says which of them differ and by how much."""
    if file.suffix != ".safetensors":
        return file.read_bytes()
    with safe_open(file, "pt") as opened:
        return opened.metadata(), {name: opened.get_tensor(name).tolist() for name in opened.keys()}  # noqa: SIM118


def made_by_retraining(out: Path) -> Made:
    """Every file's content; all but the seconds of a result and what tells the directories apart has to be the same."""
    files: Made = {file.name: content_of(file) for file in out.iterdir() if file.is_file() and file.name != "config.json"}
    files["result.json"] = {key: value for key, value in json.loads((out / "result.json").read_text()).items() if key != "seconds"}
    curves = shown(out / FOLDER)
    return files | {name: curves[name] for name in (LOSS, RATE, SKIPPED, VALIDATION)}


def trainings_alone(argv: Sequence[str]) -> int:
    save_often()
    work, out = map(Path, argv)
    conditions = Conditions(SupernetRun(work, SPACE, str(work / "set"), 32, seed=0), batch_size=4, folder=out)
    train_all(conditions, TRAININGS, InProcess(partial(training_alone, conditions)), lambda training, result: None)
    return 0


def training_alone_options(work: Path, out: Path) -> list[str]:
    return [str(work), str(out)]


def made_by_training_alone(out: Path) -> Made:
    """Every file's content but the seconds of a result; leftovers of a killed process's writing stay where no command's run is."""
    files = [file for file in out.iterdir() if file.suffix != ".tmp"]
    return {file.name: {key: value for key, value in json.loads(file.read_text()).items() if key != "core_seconds"} for file in files}


def searching(argv: Sequence[str]) -> int:
    save_often()
    return search.main(argv)


def searching_options(work: Path, out: Path) -> list[str]:
    (work / "space.yaml").write_text(SMALL_SPACE)
    small = ["--space", str(work / "space.yaml"), "--data", str(work / "set"), "--steps", "12", "--trials", "12", "--out", str(out)]
    return search_command(work, *small, "--finalists", "3", "--finals-steps", "8")


def made_by_searching(out: Path) -> Made:
    """Every file's content but times and trials' numbers: a killed evaluation has one, too."""
    study = open_storage(journal_url(out)).optuna
    (only,) = study.get_all_studies()
    trials = study.get_all_trials(study.get_study_id_from_name(only.study_name))
    assert all(trial.state in (TrialState.COMPLETE, TrialState.FAIL) for trial in trials)
    names = {file.name for file in out.iterdir() if not file.name.startswith("study.journal")} - {"config.json", "run.lock"}
    files: Made = {name: (out / name).read_bytes() for name in names if name.endswith(".safetensors")}
    # Its header tells how long the training took.
    files["supernet.safetensors"] = {name: tensor.numpy().tobytes() for name, tensor in load_file(out / "supernet.safetensors").items()}
    files |= {name: str(load_architecture(out / name).stages) for name in names if name.endswith(".yaml")}
    finals = read_finals(out)
    assert finals is not None
    files["finals.json"] = [(one.fingerprint, one.competes, one.rounds) for one in finals.finalists]
    files["standalone"] = made_by_training_alone(out / "standalone")
    evaluated = sum(trial.state is TrialState.COMPLETE for trial in trials)
    return files | {"names": names, "trials": rows_of(out / "trials.csv"), "evaluated": evaluated}


def num_repeated(out: Path) -> int:
    """Evaluations of a search that were begun more than once."""
    if not (out / "trials.csv").exists():
        return 0
    return len(open_study(journal_url(out)).interrupted())


KINDS = {
    "search": (searching, searching_options, made_by_searching),
    "retraining": (retraining, retraining_options, made_by_retraining),
    "training alone": (trainings_alone, training_alone_options, made_by_training_alone),
}
Options = Callable[[Path, Path], list[str]]


def was_at(out: Path) -> str:
    """What a command was at when it was killed, as its files tell."""
    files = {file.name for file in out.glob("*")}
    if "supernet.safetensors" in files:
        return "after the last trial" if "trials.csv" in files else "while it evaluated"
    if any(name.endswith((".json", "weights.safetensors")) and name != "config.json" for name in files):
        return "after a result"
    return "after a checkpoint" if any(name.endswith(".safetensors") for name in files) else "before the first checkpoint"


def kill_and_continue(command: Command, options: list[str], out: Path, after: Sequence[float]) -> list[str]:
    """Kill a command after so many seconds, and again, then let it come to its end; what it was at each time."""
    at = [was_at(out) for seconds in after if run_killed(command, options, seconds)]
    run_whole(command, options)
    assert num_repeated(out) <= len(at)
    return at


@pytest.mark.parametrize("kind", ["search", "retraining", pytest.param("training alone", marks=pytest.mark.soak)])
def test_killed_twice(work: Path, kind: str) -> None:
    command, options, made = KINDS[kind]
    whole, parts = work / f"{kind} whole", work / f"{kind} parts"
    seconds = run_whole(command, options(work, whole))
    # Early, so that there is something left for the second time.
    kill_and_continue(command, options(work, parts), parts, [0.4 * seconds, 0.5 * seconds])
    assert made(parts) == made(whole)


def test_two_at_once_do_no_harm(work: Path) -> None:
    """Without a lock on what they share: the same trainings, the same checkpoints, the same results."""
    whole, shared = work / "alone", work / "shared"
    run_whole(trainings_alone, training_alone_options(work, whole))
    options = training_alone_options(work, shared)
    with running(trainings_alone, options) as (one, output), running(trainings_alone, options) as (other, its_output):
        for process in (one, other):
            process.join(100)
        assert [one.exitcode, other.exitcode] == [0, 0], output.read_text() + its_output.read_text()
    assert made_by_training_alone(shared) == made_by_training_alone(whole)


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_twenty_moments(work: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, options, made = KINDS[kind]
    whole = work / f"{kind} soak"
    run_whole(command, options(work, whole))
    # The first one also filled the caches.
    seconds = run_whole(command, options(work, work / f"{kind} again"))
    found: Counter[str] = Counter()
    for number, moment in enumerate(moments(20, seconds, seed=6)):
        for after in (moment, moment / 2, moment / 4):
            parts = work / f"{kind} {number}, {after}"
            at = kill_and_continue(command, options(work, parts), parts, [after])
            assert made(parts) == made(whole), f"killed after {after:.3f} s"
            if at:
                # Otherwise the machine was faster this time, and the command at its end before.
                break
        found.update(at)
    assert found.total() == 20
    often = work / f"{kind} often"
    kills = len(kill_and_continue(command, options(work, often), often, [0.3 * seconds] * 20))
    assert made(often) == made(whole)
    with capsys.disabled():
        counts = ", ".join(f"{count} {where}" for where, count in sorted(found.items()))
        print(f"\n{kind}: {seconds:.1f} s a run; killed at 20 moments: {counts}; and {kills} times in a row: all the same")


def test_a_process_that_is_killed_for_real(work: Path) -> None:
    """`python -m nas.retrain`, as a user runs it, killed after its first epoch."""
    whole, parts = work / "real whole", work / "real parts"
    run_whole(retrain.main, retraining_options(work, whole))
    command = [sys.executable, "-m", "nas.retrain", *retraining_options(work, parts)]
    with subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL) as process:
        while not (parts / "metrics.csv").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    run_whole(retrain.main, retraining_options(work, parts))
    assert made_by_retraining(parts) == made_by_retraining(whole)
