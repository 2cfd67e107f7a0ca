"""Commands that are killed: the same command again, as often as it takes, comes to the same end as if nothing had been."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pytest
from optuna.trial import TrialState
from safetensors import safe_open
from safetensors.torch import load_file

from nas.audit import __main__ as audit
from nas.audit.table import load_bench
from nas.cli.trackers.scalars import LOSS, RATE, SKIPPED, VALIDATION
from nas.cli.trackers.tensorboard import FOLDER
from nas.compare import __main__ as compare
from nas.evaluators import standalone
from nas.evaluators.standalone import train_all
from nas.evaluators.trainings import Conditions, Training
from nas.execution.resources import Resources
from nas.execution.workers import open_workers
from nas.retrain import __main__ as retrain
from nas.runs.records.halving import read_halving
from nas.runs.storage_url import journal_url
from nas.search import __main__ as search
from nas.study.record import open_study
from nas.study.storage import open_storage
from nas.train.supernet_run import SupernetRun
from space import load_architecture
from space.files import dump_architecture, load_provenance, load_space
from supernet.training import checkpointer
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
    checkpointer.SECONDS_UNSAVED, checkpointer.WRITING_SHARE, checkpointer.ROLLBACK_STEPS = 0.0, 0.5, 5


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


def training_alone(argv: Sequence[str]) -> int:
    save_often()
    work, out = map(Path, argv)
    conditions = Conditions(SupernetRun(work, SPACE, str(work / "set"), 32, seed=0), batch_size=4, folder=out)
    with open_workers(partial(standalone.training_alone, conditions), Resources(), out / "ray") as workers:
        train_all(conditions, TRAININGS, workers, lambda *_: None)
    return 0


def training_alone_options(work: Path, out: Path) -> list[str]:
    return [str(work), str(out)]


def made_by_training_alone(out: Path) -> Made:
    """Every file's content but the seconds of a result; leftovers of a killed process's writing stay where no command's run is."""
    files = [file for file in out.iterdir() if file.suffix != ".tmp" and file.name != "ray"]
    return {file.name: {key: value for key, value in json.loads(file.read_text()).items() if key != "core_seconds"} for file in files}


def searching(argv: Sequence[str]) -> int:
    save_often()
    return search.main(argv)


def searching_options(work: Path, out: Path) -> list[str]:
    (work / "space.yaml").write_text(SMALL_SPACE)
    small = ["--space", str(work / "space.yaml"), "--data", str(work / "set"), "--steps", "12", "--trials", "12", "--out", str(out)]
    return search_command(work, *small, "--halving-candidates", "3", "--halving-steps", "8")


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
    files |= {name: (load_architecture(out / name).stages, provenance_of(out / name)) for name in names if name.endswith(".yaml")}
    evaluated = sum(trial.state is TrialState.COMPLETE for trial in trials)
    files |= {"names": names, "trials": rows_of(out / "trials.csv"), "evaluated": evaluated, "halving": halving_of(out)}
    return files | made_by_training_alone(out / "standalone")


def provenance_of(file: Path) -> dict[str, object]:
    """What a found architecture's file tells, but for its trial's number, times and where the run lies."""
    return {key: value for key, value in load_provenance(file).items() if key not in ("trial", "run", "study", "storage", "seconds")}


def halving_of(out: Path) -> object:
    """The record of successive halving, without labels: they hold trials' numbers."""
    record = read_halving(out)
    assert record is not None
    assert record.finished == len(record.steps)
    tied = [one.fingerprint for one in record.candidates if one.label in record.tied]
    return record.steps, tied, [asdict(one) | {"label": ""} for one in record.candidates]


def copy_of_a_search(work: Path, out: Path) -> Path:
    """A search's directory at `out`, which other commands go on from."""
    if not (work / "searched").exists():
        run_whole(search.main, searching_options(work, work / "searched"))
    if not out.exists():
        shutil.copytree(work / "searched", out)
    return out


def auditing(argv: Sequence[str]) -> int:
    save_often()
    return audit.main(argv)


def auditing_options(work: Path, out: Path) -> list[str]:
    small = ["--steps", "12", "--batch-size", "4", "--architectures", "4", "--long", "0.5", "--short", "2", "--workers", "1"]
    return ["--run", str(copy_of_a_search(work, out)), *small]


def made_by_auditing(out: Path) -> Made:
    """The table but its times, and every training's result."""
    table = [
        (row.architecture, row.part, {name: value for name, value in row.numbers.items() if not name.startswith(("ms: ", "core-seconds: "))
                                      and "ms@" not in name and "latency" not in name})
        for row in load_bench(out / "audit")
    ]  # fmt: skip
    return {"table": table} | made_by_training_alone(out / "audit" / "trainings")


def comparing(argv: Sequence[str]) -> int:
    save_often()
    return compare.main(argv)


def comparing_options(work: Path, out: Path) -> list[str]:
    return [str(copy_of_a_search(work, out)), "--recipe", str(work / "recipe.yaml"), "--random", "1", "--seeds", "2", "--workers", "1"]


def made_by_comparing(out: Path) -> Made:
    """The tables, and what each retraining made."""
    folder = out / "comparison"
    # How long it took is no two times the same.
    differing = ("- made by: ", "| Time of the whole method", "| trials |", "| final trainings |", "| retraining |", "| in all |")
    page = [line for line in (folder / "comparison.md").read_text().splitlines() if not line.startswith(differing)]
    made: Made = {"page": page, "table": (folder / "comparison.csv").read_bytes()}
    return made | {child.name: made_by_retraining(child) for child in folder.iterdir() if (child / "result.json").exists()}


def num_repeated(out: Path) -> int:
    """Evaluations of a search that were begun more than once."""
    if not (out / "trials.csv").exists():
        return 0
    return open_study(journal_url(out)).summary().num_interrupted


@dataclass(frozen=True)
class Kind:
    """A command, and when to kill it.

    Args:
        options: from a folder as `work` and the directory that it writes.
        made: what it has left there that has to be the same, killed or not.
        late: pattern of files in that directory: when one is there the command is in its second half.
    """

    command: Command
    options: Callable[[Path, Path], list[str]]
    made: Callable[[Path], Made]
    late: str

    def is_late(self, out: Path) -> bool:
        """Whether the command has come so far."""
        return any(out.glob(self.late))


KINDS = {
    "search": Kind(searching, searching_options, made_by_searching, "trials.csv"),
    "retraining": Kind(retraining, retraining_options, made_by_retraining, "metrics.csv"),
    "audit": Kind(auditing, auditing_options, made_by_auditing, "audit/trainings/*.json"),
    "comparison": Kind(comparing, comparing_options, made_by_comparing, "comparison/*/result.json"),
    "training alone": Kind(training_alone, training_alone_options, made_by_training_alone, "*.json"),
}


@dataclass(frozen=True)
class Lengths:
    """Seconds that a command takes that nobody kills, and those of them in its second half."""

    whole: float
    late: float


def run_uninterrupted(kind: Kind, work: Path, out: Path) -> Lengths:
    """Run a command to its end; how long it took."""
    options = kind.options(work, out)
    seconds = run_whole(kind.command, options)
    return Lengths(seconds, min(time.time() - min(file.stat().st_mtime for file in out.glob(kind.late)), seconds))


def was_at(out: Path) -> str:
    """What a command was at when it was killed, as its files tell."""
    folder = next((out / name for name in ("audit", "comparison") if (out / name).exists()), out)
    files = {file.name for file in folder.rglob("*")} - {"config.json", "run.lock"}
    if files & {"report.html", "report.md", "comparison.md"}:
        return "at its end"
    if "trials.csv" in files:
        return "after its last trial"
    if "supernet.safetensors" in files:
        return "while it evaluated"
    if any(name.endswith((".json", "weights.safetensors")) for name in files):
        return "after a result"
    return "after a checkpoint" if any(name.endswith(".safetensors") for name in files) else "before the first checkpoint"


Kill = tuple[float, bool]
"""Seconds, and whether they are those of the second half; from the start otherwise."""


def kill_and_continue(kind: Kind, work: Path, out: Path, kills: Sequence[Kill]) -> list[str]:
    """Kill a command and run it again, once for each of `kills`, then let it come to its end; what it was at each time."""
    options, at = kind.options(work, out), []
    for seconds, is_late in kills:
        if run_killed(kind.command, options, seconds, partial(kind.is_late, out) if is_late else lambda: True):
            at.append(was_at(out))
    run_whole(kind.command, options)
    assert num_repeated(out) <= len(at)
    return at


@pytest.mark.parametrize("name", ["search", "retraining", "audit", "comparison", pytest.param("training alone", marks=pytest.mark.soak)])
def test_killed_early_and_late(work: Path, name: str) -> None:
    kind, whole, parts = KINDS[name], work / f"{name} whole", work / f"{name} parts"
    lengths = run_uninterrupted(kind, work, whole)
    kill_and_continue(kind, work, parts, [(0.4 * lengths.whole, False), (0.4 * lengths.late, True)])
    assert kind.made(parts) == kind.made(whole)


def test_two_at_once_do_no_harm(work: Path) -> None:
    """Without a lock on what they share: the same trainings, the same checkpoints, the same results."""
    whole, shared = work / "alone", work / "shared"
    run_whole(training_alone, training_alone_options(work, whole))
    options = training_alone_options(work, shared)
    with running(training_alone, options) as (one, output), running(training_alone, options) as (other, its_output):
        for process in (one, other):
            process.join(100)
        assert [one.exitcode, other.exitcode] == [0, 0], output.read_text() + its_output.read_text()
    assert made_by_training_alone(shared) == made_by_training_alone(whole)


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", KINDS)
def test_killed_at_twenty_moments(work: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Fourteen of them over the whole length, six in the second half: in a search between its last trial and its end."""
    kind, whole = KINDS[name], work / f"{name} soak"
    run_uninterrupted(kind, work, whole)
    # The first one also filled the caches.
    lengths = run_uninterrupted(kind, work, work / f"{name} again")
    found: Counter[str] = Counter()
    kills = [(moment, False) for moment in moments(14, lengths.whole, seed=6)]
    kills += [(moment, True) for moment in moments(6, lengths.late, seed=7)]
    for number, (moment, is_late) in enumerate(kills):
        for after in (moment, moment / 2, moment / 4, moment / 8):
            parts = work / f"{name} {number}, {after}"
            at = kill_and_continue(kind, work, parts, [(after, is_late)])
            assert kind.made(parts) == kind.made(whole), f"killed after {after:.3f} s{' of its second half' * is_late}"
            if at:
                # Otherwise the machine was faster this time, and the command at its end before.
                break
        found.update(at)
    assert found.total() == len(kills)
    often = work / f"{name} often"
    times = len(kill_and_continue(kind, work, often, [(0.3 * lengths.whole, False)] * 20))
    assert kind.made(often) == kind.made(whole)
    with capsys.disabled():
        counts = ", ".join(f"{count} {where}" for where, count in sorted(found.items()))
        print(f"\n{name}: {lengths.whole:.1f} s a run; killed at 20 moments: {counts}; and {times} times in a row: all the same")


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
