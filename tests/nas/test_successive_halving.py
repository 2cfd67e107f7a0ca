"""Successive halving: who stays, who wins, what is said without a clear winner; neither clock nor number of workers decides."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from nas.evaluators.standalone import training_alone
from nas.evaluators.trainings import Conditions, Trained, Training
from nas.execution.loop import MAX_ATTEMPTS, Deadline, JobError
from nas.execution.resources import Resources
from nas.execution.workers import open_workers
from nas.report.final_training import is_ahead, outcome_in_words
from nas.runs.records.halving import CandidateRecord, HalvingRecord, read_halving
from nas.search import __main__ as search
from nas.search.finish import after_training_alone
from nas.search.measured import MeasuredResult
from nas.search.successive_halving import LEAST_KEPT, Candidate, _ties, halve, num_steps, num_tests, steps_of_rungs
from nas.train.supernet_run import SupernetRun
from space.architecture import Architecture
from space.files import load_architecture, load_provenance, load_space
from supernet.score import Score
from tests.killing import run_whole, running
from tests.nas.conftest import Mistaken
from tests.nas.small_search import command, rows_of, trials_of
from tests.pictures import write_pictures

SPACE = load_space("hybrid-32").replace(num_classes=3)
NEVER = Deadline()


def score(log_likelihood: float, stderr: float = 0.01) -> Score:
    return Score(0.5, 0.01, log_likelihood, stderr, 100)


def candidates(count: int) -> list[Candidate]:
    """Small distinct architectures; the search likes later ones better."""
    smallest = SPACE.parameters_of(SPACE.smallest())
    mixers = SPACE.slots["stage3.block1.mixer"]
    architectures = [SPACE.replay(smallest | {"stage3.block1.mixer": mixer}) for mixer in mixers[:count]]
    return [Candidate(f"trial {i}", architecture, score(i / 10)) for i, architecture in enumerate(architectures)]


@pytest.fixture
def conditions(tmp_path: Path) -> Conditions:
    write_pictures(tmp_path / "images" / "train", count=10)
    return Conditions(SupernetRun(tmp_path, SPACE, str(tmp_path / "images"), 32, seed=0), batch_size=4, folder=tmp_path / "standalone")


def held(
    conditions: Conditions, taking_part: Sequence[Candidate], steps: Sequence[int], num_workers: int = 1, deadline: Deadline = NEVER
) -> tuple[HalvingRecord, list[Training]]:
    """The record, and the trainings that were done, in their order."""
    done: list[Training] = []

    def note(training: Training, result: Trained, was_done: bool) -> None:
        done.append(training)

    with open_workers(partial(training_alone, conditions), Resources(num_workers), conditions.folder / "ray") as workers:
        return halve(conditions, taking_part, steps, workers, deadline, note), done


def test_rungs_follow_from_the_numbers_of_steps_and_candidates_alone() -> None:
    assert steps_of_rungs(100, 7) == (25, 50, 100)
    assert steps_of_rungs(3, 7) == (1, 1, 3)
    # Where three go on from every rung, only the last one is of use.
    assert [len(steps_of_rungs(40, candidates)) for candidates in range(1, 9)] == [1, 1, 1, 2, 2, 2, 3, 3]
    assert steps_of_rungs(100, 1000) == (25, 50, 100)
    # Seven train, four go on, three go on and train with two seeds.
    assert num_steps(7, (25, 50, 100)) == 7 * 25 + 4 * 50 + 3 * 2 * 100
    assert num_tests(7, (25, 50, 100)) == 3 * 2
    assert num_tests(2, (40,)) == 2 * 2


def test_the_better_half_goes_on_and_the_last_rung_has_more_seeds(conditions: Conditions) -> None:
    taking_part = candidates(7)
    found, done = held(conditions, taking_part, (1, 2, 3))
    assert found.steps == (1, 2, 3)
    assert found.finished == 3
    of_rungs = [[one for one in found.candidates if len(one.rungs) > number] for number in range(3)]
    assert list(map(len, of_rungs)) == [7, 4, LEAST_KEPT]
    assert [{len(one.rungs[number]) for one in of_rung} for number, of_rung in enumerate(of_rungs)] == [{1}, {1}, {2}]
    assert sum(training.steps for training in done) == num_steps(7, (1, 2, 3))
    for number, (before, after) in enumerate(pairwise(of_rungs)):
        worst = min(one.log_likelihood(number) for one in after)
        assert all(one.log_likelihood(number) <= worst for one in before if one not in after)
    assert {one.fingerprint: one.label for one in found.candidates} == {one.architecture.fingerprint: one.label for one in taking_part}
    assert set(found.candidates[:LEAST_KEPT]) == set(of_rungs[-1])
    # These pictures have no test part.
    assert not any(one.test for one in found.candidates)
    assert found.winner is found.candidates[0]
    assert found.winner.label == found.tied[0]


def test_one_worker_and_two_come_to_the_same(conditions: Conditions, tmp_path: Path) -> None:
    taking_part = candidates(4)
    alone, _ = held(conditions, taking_part, (1, 2), 1)
    together, _ = held(replace(conditions, folder=tmp_path / "others"), taking_part, (1, 2), 2)
    assert together == alone


def test_successive_halving_without_any_time_leaves_the_order_of_the_search(conditions: Conditions) -> None:
    over = Deadline(time.monotonic())
    none, done = held(conditions, candidates(4), (1, 2, 3), deadline=over)
    assert not done
    assert none.finished == 0
    assert none.winner.label == "trial 0"


def test_where_only_the_first_rung_is_done_it_decides(conditions: Conditions) -> None:
    whole, done = held(conditions, candidates(4), (1, 2, 3))
    for training in done:
        if training.steps > 1:
            conditions.file_of(training).unlink()
    one, _ = held(conditions, candidates(4), (1, 2, 3), deadline=Deadline(time.monotonic()))
    assert (one.steps, one.finished) == (whole.steps, 1)
    assert {candidate.fingerprint: candidate.rungs[0] for candidate in one.candidates} == {
        candidate.fingerprint: candidate.rungs[0] for candidate in whole.candidates
    }
    assert one.candidates[-1].log_likelihood(0) == min(candidate.log_likelihood(0) for candidate in one.candidates)


def failing(conditions: Conditions, victims: Sequence[Architecture]) -> partial[object]:
    return partial(_failing, conditions, frozenset(one.fingerprint for one in victims))


def _failing(conditions: Conditions, victims: frozenset[str]) -> object:
    do = training_alone(conditions)

    def attempt(training: Training) -> Trained:
        if training.architecture.fingerprint in victims:
            raise ArithmeticError("no network of this world")
        return do(training)

    return attempt


def test_who_cannot_be_trained_is_eliminated_with_the_reason(conditions: Conditions, capfd: pytest.CaptureFixture[str]) -> None:
    taking_part = candidates(4)
    with open_workers(failing(conditions, [taking_part[1].architecture]), Resources(1), conditions.folder) as workers:
        found = halve(conditions, taking_part, (1, 2), workers, NEVER, lambda *_: None)
    assert found.finished == 2
    (failed,) = [one for one in found.candidates if one.failure]
    assert (failed.label, failed.rungs, failed.failure) == ("trial 1", (), "ArithmeticError: no network of this world")
    assert capfd.readouterr().err.count("tried again") == MAX_ATTEMPTS - 1
    all_fail = open_workers(failing(conditions, [one.architecture for one in taking_part]), Resources(1), conditions.folder)
    with all_fail as workers, pytest.raises(JobError, match=rf"(?s)failed {MAX_ATTEMPTS} times.*Traceback.*in attempt"):
        # In other numbers of steps: none of these is done already.
        halve(conditions, taking_part, (3, 4), workers, NEVER, lambda *_: None)


def order_of(*log_likelihoods: tuple[float, float]) -> tuple[list[str], list[str]]:
    """Labels of those who cannot be told apart from the best and of the others, after one rung that gave these scores by seed."""
    left = candidates(len(log_likelihoods))
    scores = {one.architecture.fingerprint: tuple(map(score, seeds)) for one, seeds in zip(left, log_likelihoods, strict=True)}
    tied, others = _ties(left, [scores])
    return [one.label for one in tied], [one.label for one in others]


def test_ties_are_the_searchs() -> None:
    assert order_of((-1.00, -1.04), (-1.01, -1.05), (-1.90, -1.95)) == (["trial 1", "trial 0"], ["trial 2"])
    assert order_of((-1.00, -1.01), (-1.50, -1.51)) == (["trial 0"], ["trial 1"])
    assert len(order_of((-1.0, -1.6), (-1.2, -1.7))[0]) == 2


def test_a_published_network_may_come_first_but_does_not_win(conditions: Conditions) -> None:
    alike, _ = held(conditions, candidates(3), (1,))
    visitors = [replace(one, competes=one.label != alike.candidates[0].label) for one in candidates(3)]
    found, _ = held(conditions, visitors, (1,))
    assert [one.label for one in found.candidates] == [one.label for one in alike.candidates]
    assert not found.candidates[0].competes
    assert found.winner.label == found.candidates[1].label


def test_one_drawn_at_random_that_comes_last_is_no_next_best() -> None:
    results = [MeasuredResult(SimpleNamespace(architecture=one.architecture)) for one in candidates(4)]  # type: ignore[arg-type]
    best, second, third, drawn = results

    def order_after(*taking_part: MeasuredResult) -> list[MeasuredResult]:
        records = [CandidateRecord("", one.result.architecture.fingerprint, True, ()) for one in taking_part]
        return after_training_alone(HalvingRecord((9,), 1, tuple(records), ()), [best, second, third], drawn)

    assert order_after(best, drawn) == [best, second, third]
    assert order_after(drawn, best) == [drawn, best, second, third]
    assert order_after(second, drawn, best) == [second, drawn, best, third]
    assert order_after(second, best) == [second, best, third]


def record_of(*shares: float) -> HalvingRecord:
    """A record of candidates with these accuracies on 400 test images, the winner first; the second is a published network."""
    scores = [Score(share, (share * (1 - share) / 400) ** 0.5, -1.0, 0.1, 400) for share in shares]
    labels = ("trial 7", "uniformer-s-plus", "trial 1, random")
    last = ((score(-1.0), score(-1.1)),)
    candidates = [
        CandidateRecord(label, label, label != labels[1], last, test=(one, one)) for label, one in zip(labels, scores, strict=False)
    ]  # fmt: skip
    return HalvingRecord((40,), 1, tuple(candidates), labels[:1])


def test_a_sentence_says_how_the_winner_does_on_test_images() -> None:
    assert outcome_in_words(record_of(0.7, 0.5, 0.4)) == (
        "Trained alike from scratch for 40 steps with 2 seeds, accuracy on 400 test images (95 %): the winner, trial 7, 70.0 % (65.3 to "
        "74.3); uniformer-s-plus 50.0 % (45.1 to 54.9); trial 1, random 40.0 % (35.3 to 44.9). The winner leads."
    )
    assert outcome_in_words(record_of(0.7, 0.69, 0.4)).endswith("). The winner and uniformer-s-plus cannot be told apart.")
    assert outcome_in_words(record_of(0.7, 0.9, 0.4)).endswith("). uniformer-s-plus did better than the winner.")
    assert is_ahead(record_of(0.7, 0.5, 0.4))
    assert not any(is_ahead(record_of(*shares)) for shares in ((0.7, 0.69, 0.4), (0.7, 0.9, 0.4), (0.7,)))
    # At the ends of the range no interval is empty.
    assert "100.0 % (99.0 to 100.0)" in outcome_in_words(record_of(1.0))


def test_a_search_ends_in_successive_halving(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    write_pictures(folder / "images" / "val", count=5)
    arguments = command(folder, "--halving-candidates", "3", "--halving-steps", "4")
    assert search.main(arguments) == 0
    out = capsys.readouterr().out
    assert "Trained alone" in out
    assert all(f" {steps} steps" in out for steps in (2, 4))
    best, record = load_architecture(folder / "run" / "best.yaml"), read_halving(folder / "run")
    assert record is not None
    assert (record.steps, record.finished) == ((2, 4), 2)
    assert record.winner.fingerprint == best.fingerprint
    labels = [candidate.label for candidate in record.candidates]
    rows = out.partition("Trained alone")[2].splitlines()
    assert [label for row in rows for label in labels if row.startswith(f"{label} ")][: len(labels)] == labels
    printed = load_provenance(folder / "run" / "best.yaml")["halving"]
    scored = zip(record.steps, record.winner.rungs, strict=True)
    assert printed == {steps: [round(one.log_likelihood, 4) for one in scores] for steps, scores in scored}
    assert [len(scores) for scores in printed.values()] == [1, 2]
    in_last_rung = [one for one in record.candidates if len(one.rungs) == 2]
    assert [len(one.test) for one in record.candidates] == [2] * len(in_last_rung) + [0] * (len(record.candidates) - len(in_last_rung))
    assert {score.num_images for one in in_last_rung for score in one.test} == {15}
    assert outcome_in_words(record) in out
    assert best.fingerprint in {trial.user_attrs["fingerprint"] for trial in trials_of(folder)}
    done = {file.name: file.stat().st_mtime_ns for file in (folder / "run" / "standalone").iterdir()}
    assert search.main(arguments) == 0
    assert {file.name: file.stat().st_mtime_ns for file in (folder / "run" / "standalone").iterdir()} == done
    assert (load_architecture(folder / "run" / "best.yaml"), read_halving(folder / "run")) == (best, record)


def default_like(folder: Path, out: str, *more: str) -> list[str]:
    """A small search whose only option of successive halving makes it short."""
    argv = command(folder, "--halving-steps", "8", "--out", str(folder / out), *more)
    place = argv.index("--halving-candidates")
    return [*argv[:place], *argv[place + 2 :]]


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.soak), "2"])
def test_a_search_that_is_killed_in_successive_halving_ends_as_if_it_had_not_been(folder: Path, workers: str) -> None:
    """And with two workers those of one."""
    run_whole(search.main, default_like(folder, "whole"))
    whole = read_halving(folder / "whole")
    assert whole is not None
    assert whole.finished == len(whole.steps)
    argv = default_like(folder, "run", "--workers", workers)
    with running(search.main, argv) as (process, output):
        # All trials are done, and successive halving is under way.
        while not any((folder / "run" / "standalone").glob("*.json")):
            assert process.is_alive(), output.read_text()
            time.sleep(0.02)
    assert len(trials_of(folder)) == 5
    assert not (folder / "run" / "best.yaml").exists()
    run_whole(search.main, argv)
    assert read_halving(folder / "run") == whole
    assert rows_of(folder / "run" / "trials.csv") == rows_of(folder / "whole" / "trials.csv")
    assert load_architecture(folder / "run" / "best.yaml").fingerprint == whole.winner.fingerprint


def test_a_search_without_a_supernet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = command(folder, "--evaluator", "standalone", "--standalone-steps", "2", "--trials", "3", trains=False)
    assert search.main(arguments) == 0
    assert "after 2 steps alone" in " ".join(capsys.readouterr().out.split())
    written = {file.name for file in (folder / "run").iterdir()}
    assert {"best.yaml", "trials.csv", "standalone"} <= written
    assert not written & {"supernet.safetensors", "best.safetensors"}
    trained = {file.name.split("-")[0] for file in (folder / "run" / "standalone").iterdir()}
    assert trained == {trial.user_attrs["fingerprint"] for trial in trials_of(folder)}
    provenance = load_provenance(folder / "run" / "best.yaml")
    assert provenance["log_likelihood"] == max(trial.value for trial in trials_of(folder))


def test_successive_halving_without_time_is_told_of_and_continues(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = default_like(folder, "run")
    assert search.main(argv) == 0
    whole = read_halving(folder / "run")
    (folder / "run" / "halving.json").unlink()
    for file in (folder / "run" / "standalone").iterdir():
        file.unlink()
    capsys.readouterr()
    assert search.main([*argv, "--minutes", "0"]) == 0
    assert "Successive halving ended before its first rung was over: the winner is the search's choice." in capsys.readouterr().out
    assert search.main(argv) == 0
    assert read_halving(folder / "run") == whole


def test_a_dry_run_tells_of_trainings(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    alone = ["--evaluator", "standalone", "--standalone-steps", "7"]
    assert search.main(command(folder, "--dry-run", "--halving-candidates", "8", "--halving-steps", "100", *alone, trains=False)) == 0
    out = capsys.readouterr().out
    # The best eight, one drawn at random, and TopFormer-T.
    assert f"10 networks train alone, {num_steps(10, steps_of_rungs(100, 10))} steps in all" in out
    assert "7 steps of training alone" in out
    assert "training " not in [line[:9] for line in out.splitlines()]
    assert search.main(command(folder, "--dry-run")) == 0
    assert "networks train alone" not in capsys.readouterr().out


def test_a_front_has_no_successive_halving(folder: Path, mistaken: Mistaken) -> None:
    complaint = mistaken(search.main, command(folder, "--objectives", "accuracy", "macs", "--halving-candidates", "2"))
    assert "a front has no winner" in complaint
