"""Storages are Optuna's own, used by their public interface, and survive what happens to files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.storages import InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from nas.runs.storage_url import StorageError
from nas.study.architecture_study import ArchitectureStudy
from nas.study.storage import open_storage
from tests.nas.test_order_of_proposals import asked, opened, score

ROOT = Path(__file__).parents[3]
HALF_A_LINE = b'{"op_code":8,"worker_id":"of one that was killed as it wro'


def test_an_incomplete_line_in_a_journal_is_removed_before_the_next_one(tmp_path: Path) -> None:
    file = tmp_path / "study.journal"
    study, other = (opened(f"journal:{file}", "random") for _ in range(2))
    first = asked(study)
    with file.open("ab") as journal:
        journal.write(HALF_A_LINE)
    # Neither a process that has read the journal already nor one that opens it now fails.
    study.tell(first, score(first), 0.1)
    second = asked(other)
    with file.open("ab") as journal:
        journal.write(HALF_A_LINE)
    continued = opened(f"journal:{file}", "random")
    assert [result.number for result in continued.results()] == [first.number]
    other.tell(second, score(second), 0.1)
    assert continued.summary() == opened(f"journal:{file}", "random").summary()
    assert len(continued.summary().results) == 2
    assert HALF_A_LINE not in file.read_bytes()
    # Optuna's own backend reads the file.
    plain = optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(file))))
    assert [trial.state for trial in plain.trials] == [TrialState.COMPLETE] * 2


@pytest.mark.parametrize("content", ["a diary\n", '{"name": "somebody"}\n', "{}\n{}\n", '{"op_code": 99}\n'])
def test_another_file_than_a_journal_is_refused_in_one_line_and_left_as_it_is(content: str, tmp_path: Path) -> None:
    file = tmp_path / "diary"
    file.write_text(content)
    with pytest.raises(StorageError, match=r"storage: .*diary: got .*, expected a journal of Optuna's; choose another file") as error:
        open_storage(f"journal:{file}")
    assert "\n" not in str(error.value)
    assert file.read_text() == content


class Interfered(ArchitectureStudy):
    """A study in which somebody else, such as a dashboard, enqueues a trial after each reading of all trials."""

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        trials = super()._trials(*states)
        self.study.enqueue_trial({})
        return trials


@pytest.mark.parametrize("kind", ["sqlite:///", "journal:"])
def test_others_may_enqueue_trials_meanwhile(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.nas.test_order_of_proposals.ArchitectureStudy", Interfered)
    study = opened(f"{kind}{tmp_path / 'study'}", "random")
    proposals = []
    for _ in range(3):
        proposals.append(asked(study))
        study.tell(proposals[-1], score(proposals[-1]), 0.1)
    results = {result.number: result.architecture for result in study.results()}
    assert results == {proposal.number: proposal.architecture for proposal in proposals}
    assert len({architecture.fingerprint for architecture in results.values()}) == 3


def test_no_private_name_of_optuna_is_used() -> None:
    private = {name for optunas in (*_objects(), *map(type, _objects())) for name in vars(optunas) if _is_private(name)}
    assert {"_trial_id", "_storage", "_study_id", "_create_new_trial"} <= private
    files = [file for folder in ("nas", "experiments", "tests", "proxies", "supernet") for file in (ROOT / folder).rglob("*.py")]
    used = [f"{file}:{line}: {name}" for file in files for line, name in _used(ast.parse(file.read_text()), private)]
    assert len(files) > 100
    assert not used


def _objects() -> list[object]:
    """One of each kind that a study is made of."""
    study = optuna.create_study()
    trial = study.ask()
    return [study, trial, study.trials[0], InMemoryStorage(), RDBStorage("sqlite:///:memory:"), trial.storage, study.sampler]


def _used(module: ast.Module, private: set[str]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "optuna":
            parts = (*(node.module or "").split("."), *(alias.name for alias in node.names))
            yield from ((node.lineno, part) for part in parts if _is_private(part))
        # Classes of ours have private names of their own.
        is_own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        if isinstance(node, ast.Attribute) and not is_own and node.attr in private:
            yield node.lineno, node.attr


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")
