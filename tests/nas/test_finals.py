"""Finals: who stays, who wins, and what is said when nobody clearly does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from nas.execution.pool import in_processes

from nas.evaluators import standalone
from nas.evaluators.standalone import Conditions, Trained, Training
from nas.search import __main__ as search
from nas.search import finals
from nas.search.finals import LEAST_LEFT, STEPS, Entrant, Stage, hold_finals, num_steps, plan_steps
from nas.train.supernet_run import SupernetRun
from space.files import load_architecture, load_provenance, load_space
from supernet.accuracy import Score
from tests.nas.small_search import AS_IF_NOT_GIVEN, command, trials_of
from tests.pictures import write_pictures

SPACE = load_space("hybrid-32").replace(num_classes=3)


def score(log_likelihood: float, stderr: float = 0.01) -> Score:
    return Score(0.5, 0.01, log_likelihood, stderr, 100)


def entrants(count: int) -> list[Entrant]:
    """Small distinct architectures; the supernet likes later ones better."""
    smallest = SPACE.parameters_of(SPACE.smallest())
    mixers = SPACE.slots["stage3.block1.mixer"]
    architectures = [SPACE.replay(smallest | {"stage3.block1.mixer": mixer}) for mixer in mixers[:count]]
    return [Entrant(f"trial {i}", architecture, score(i / 10)) for i, architecture in enumerate(architectures)]


@pytest.fixture
def conditions(tmp_path: Path) -> Conditions:
    write_pictures(tmp_path / "images" / "train", count=10)
    return Conditions(SupernetRun(tmp_path, SPACE, str(tmp_path / "images"), 32, seed=0), batch_size=4, folder=tmp_path / "finals")


def test_the_better_half_goes_on_and_the_last_stage_has_more_seeds(conditions: Conditions) -> None:
    taking_part, done = entrants(7), []
    found = hold_finals(conditions, taking_part, (1, 2, 3), in_processes(1), lambda: False, lambda training, result: done.append(training))
    assert [len(stage.scores) for stage in found.stages] == [7, 4, LEAST_LEFT]
    assert [{len(scores) for scores in stage.scores.values()} for stage in found.stages] == [{1}, {1}, {2}]
    assert sum(training.steps for training in done) == num_steps(7, (1, 2, 3))
    for before, after in zip(found.stages, found.stages[1:], strict=False):
        worst = min(before.scores[fingerprint][0].log_likelihood for fingerprint in after.scores)
        assert all(scores[0].log_likelihood <= worst for fingerprint, scores in before.scores.items() if fingerprint not in after.scores)
    assert sorted(entrant.label for entrant in found.ranking) == sorted(entrant.label for entrant in taking_part)
    assert {entrant.architecture.fingerprint for entrant in found.ranking[:LEAST_LEFT]} == set(found.stages[-1].scores)
    assert found.winner is found.ranking[0] is found.tied[0]


def test_where_the_time_ends_the_stages_before_decide(conditions: Conditions) -> None:
    def late_after(count: int) -> finals.Finals:
        done: list[Training] = []

        def note(training: Training, result: Trained) -> None:
            done.append(training)

        return hold_finals(conditions, entrants(4), (1, 2, 3), in_processes(1), lambda: len(done) >= count, note)

    none, one = late_after(1), late_after(5)
    assert not none.stages
    assert none.winner.label == "trial 0"
    assert [stage.steps for stage in one.stages] == [1]
    first = one.stages[0].scores
    assert len(one.ranking) == 4
    assert first[one.ranking[-1].architecture.fingerprint] == min(first.values(), key=lambda scores: scores[0].log_likelihood)


def settled(*log_likelihoods: tuple[float, float], wins: bool = True) -> finals.Finals:
    """The end of finals whose only stage gave these scores, by seed."""
    left = [replace(entrant, wins=wins or i > 0) for i, entrant in enumerate(entrants(len(log_likelihoods)))]
    scores = {one.architecture.fingerprint: tuple(map(score, seeds)) for one, seeds in zip(left, log_likelihoods, strict=True)}
    return finals._settled(left, [], [Stage(9, scores)])


def test_ties_are_the_supernets() -> None:
    tied = settled((-1.00, -1.04), (-1.01, -1.05), (-1.90, -1.95))
    assert [entrant.label for entrant in tied.tied] == ["trial 1", "trial 0"]
    assert tied.winner.label == "trial 1"
    assert tied.ranking[-1].label == "trial 2"
    clear = settled((-1.00, -1.01), (-1.50, -1.51))
    assert [entrant.label for entrant in clear.tied] == ["trial 0"]
    noisy = settled((-1.0, -1.6), (-1.2, -1.7))
    assert len(noisy.tied) == 2


def test_a_published_network_may_come_first_but_does_not_win() -> None:
    found = settled((-1.0, -1.01), (-1.5, -1.51), wins=False)
    assert found.ranking[0].label == "trial 0"
    assert found.winner.label == "trial 1"


def test_steps_follow_the_time_and_stay_as_planned(tmp_path: Path) -> None:
    needed = num_steps(8)
    assert plan_steps(tmp_path / "a" / "steps.json", 8, needed) == STEPS
    assert plan_steps(tmp_path / "a" / "steps.json", 8, 0) == STEPS
    assert plan_steps(tmp_path / "b" / "steps.json", 8, 0.6 * needed) == tuple(int(0.6 * steps) for steps in STEPS)
    assert plan_steps(tmp_path / "c" / "steps.json", 8, 0.4 * needed) == ()
    assert not (tmp_path / "c").exists()


def test_a_search_ends_in_finals(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(finals, "STEPS", (1, 2))
    monkeypatch.setattr(finals, "MIN_STEPS", 1)
    # What processes change is tested elsewhere; to start them takes longer than these trainings.
    monkeypatch.setattr(standalone, "default_workers", lambda: 1)
    monkeypatch.setenv("COLUMNS", "140")
    arguments = command(folder, "--finalists", "2")
    assert search.main(arguments) == 0
    out = capsys.readouterr().out
    assert "Finals: trained alone" in out
    assert "2 steps" in out
    rows = [line for line in out.splitlines() if line.startswith("trial ")]
    assert len(rows) >= 2
    best = load_architecture(folder / "run" / "best.yaml")
    done = {file.name: file.stat().st_mtime_ns for file in (folder / "run" / "standalone").iterdir()}
    assert any(name.startswith(best.fingerprint) for name in done)
    told = load_provenance(folder / "run" / "best.yaml")["finals"]
    assert [len(scores) for scores in told.values()] == [1, 2]
    assert all(score < 0 for scores in told.values() for score in scores)
    assert best.fingerprint in {trial.user_attrs["fingerprint"] for trial in trials_of(folder)}
    assert search.main(arguments) == 0
    assert {file.name: file.stat().st_mtime_ns for file in (folder / "run" / "standalone").iterdir()} == done
    assert load_architecture(folder / "run" / "best.yaml") == best


def test_a_search_without_a_supernet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = command(folder, "--evaluator", "standalone", "--standalone-steps", "2", "--trials", "3", *AS_IF_NOT_GIVEN)
    assert search.main(arguments) == 0
    assert "after 2 steps alone" in " ".join(capsys.readouterr().out.split())
    written = {file.name for file in (folder / "run").iterdir()}
    assert {"best.yaml", "trials.csv", "standalone"} <= written
    assert not written & {"supernet.safetensors", "best.safetensors"}
    trained = {file.name.split("-")[0] for file in (folder / "run" / "standalone").iterdir()}
    assert trained == {trial.user_attrs["fingerprint"] for trial in trials_of(folder)}
    provenance = load_provenance(folder / "run" / "best.yaml")
    assert provenance["log_likelihood"] == max(trial.value for trial in trials_of(folder))


def test_steps_of_trainings_need_trainings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        search.main(command(folder, "--standalone-steps", "5"))
    assert "--standalone-steps needs --evaluator standalone" in capsys.readouterr().err


def test_without_time_the_supernet_chooses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [argument for argument in command(folder) if argument not in ("--finalists", "0")]
    assert search.main(arguments) == 0
    assert "no time for finals" in capsys.readouterr().out
    assert not (folder / "run" / "standalone").exists()


def test_a_dry_run_tells_of_trainings(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    arguments = command(folder, "--dry-run", "--finalists", "8", "--evaluator", "standalone", "--standalone-steps", "7", *AS_IF_NOT_GIVEN)
    assert search.main(arguments) == 0
    out = capsys.readouterr().out
    assert f"the best train alone, {num_steps(8)} steps" in out
    assert "7 steps of training alone" in out
    assert "training " not in [line[:9] for line in out.splitlines()]
    assert search.main(command(folder, "--dry-run")) == 0
    assert "the best train alone" not in capsys.readouterr().out


def test_a_front_has_no_finals(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        search.main(command(folder, "--objectives", "accuracy", "macs", "--finalists", "2"))
    assert "a front has no winner" in capsys.readouterr().err
