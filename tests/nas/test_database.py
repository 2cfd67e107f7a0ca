"""What is written in one go reads as what Optuna writes row by row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from nas.study.database import Database
from nas.study.storage import Storage
from tests.postgresql import NewDatabase

CHOICES = {"mixer": CategoricalDistribution(("window", "ssa", None)), "depth": CategoricalDistribution((1, 2, 4.5)),
           "scaled": CategoricalDistribution((True, False))}  # fmt: skip
NewUrl = Callable[[], str]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Far from where clocks show the time that databases store."""
    with monkeypatch.context() as context:
        context.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> NewUrl:
    if request.param == "postgresql":
        new_database: NewDatabase = request.getfixturevalue("postgresql")
        return lambda: new_database().replace("postgresql://", "postgresql+psycopg://", 1)
    numbers: Iterator[int] = iter(range(10))
    return lambda: f"sqlite:///{tmp_path / str(next(numbers))}.db"


def filled(storage: BaseStorage) -> None:
    """One trial of each way to end, and one under way."""
    study = optuna.create_study(storage=storage, study_name="s", directions=["maximize", "minimize"])
    for values in ((0.5, float("inf")), None, (0.25, -1.0)):
        trial = create_trial(
            state=TrialState.RUNNING, params={"mixer": None, "depth": 4.5, "scaled": False}, distributions=CHOICES,
            user_attrs={"macs": 10**12, "owner": {"host": "h"}}, system_attrs={"x": [1]}, constraints={"budget": -0.5},
        )  # fmt: skip
        study.add_trial(trial)
        trial_id = study.get_trials()[-1]._trial_id
        # Files and databases of other storages take the same calls.
        end = Storage(storage, turns=None).end_trial  # type: ignore[arg-type]
        end(trial_id, {"score": {"accuracy": 0.5}}, TrialState.COMPLETE if values else TrialState.FAIL, values)
        with pytest.raises(UpdateFinishedTrialError):
            end(trial_id, {"late": 1}, TrialState.FAIL)
    study.add_trial(create_trial(state=TrialState.RUNNING, params={"mixer": "ssa"}, distributions={"mixer": CHOICES["mixer"]}))


def contents(url: str) -> list[dict[str, object]]:
    """Trials as Optuna reads them, without the times."""
    trials = optuna.load_study(storage=RDBStorage(url), study_name="s").get_trials()
    times = ("_datetime_start", "datetime_complete")
    assert all((trial.datetime_complete is None) == (trial.state is TrialState.RUNNING) and trial.datetime_start for trial in trials)
    # In lists, since the order of the parameters belongs to it.
    return [{key: list(value.items()) if isinstance(value, dict) else value for key, value in vars(trial).items() if key not in times}
            for trial in trials]  # fmt: skip


def test_a_database_holds_what_optuna_would_have_written(new_url: NewUrl) -> None:
    ours, theirs = new_url(), new_url()
    filled(Database(ours))
    filled(RDBStorage(theirs))
    assert contents(ours) == contents(theirs)


def test_trials_are_read_as_optuna_reads_them(new_url: NewUrl) -> None:
    url = new_url()
    filled(RDBStorage(url))
    theirs, ours = RDBStorage(url), Database(url)
    for step, value in enumerate((0.5, float("nan"), float("-inf"))):
        theirs.set_trial_intermediate_value(4, step, value)
    other = theirs.create_new_study([StudyDirection.MINIMIZE])
    theirs.create_new_trial(other)
    assert len(ours.get_all_trials(1)) == 4
    for study, asked_for in ((1, (set(), -1)), (1, ({1, 4}, 2)), (1, ({2}, 2)), (1, (set(), 4)), (other, (set(), -1))):
        read, expected = ([vars(trial) for trial in storage._get_trials(study, None, *asked_for)] for storage in (ours, theirs))
        for trial in (*read, *expected):
            # Not a number does not equal itself.
            trial["intermediate_values"] = repr(trial["intermediate_values"])
        assert read == expected
    with pytest.raises(KeyError):
        ours.get_all_trials(99)


@pytest.mark.parametrize("end", ["none", "own", "other", "own, late"])
def test_what_a_process_has_written_itself_is_told_as_it_stands_there(new_url: NewUrl, end: str) -> None:
    url = new_url()
    ours, theirs = Database(url), RDBStorage(url)
    study = ours.create_new_study([StudyDirection.MAXIMIZE])
    begun = create_trial(
        state=TrialState.RUNNING, params={"mixer": "ssa", "depth": 2, "scaled": True}, distributions=CHOICES,
        user_attrs={"macs": 10**12, "owner": {"host": "h"}}, system_attrs={"constraints": [-0.5]},
    )  # fmt: skip
    trial_id = ours.create_new_trial(study, begun)
    if end == "other":
        theirs.set_trial_user_attr(trial_id, "failure", "taken for dead")
        theirs.set_trial_state_values(trial_id, TrialState.FAIL)
        with pytest.raises(UpdateFinishedTrialError):
            ours.end_trial(trial_id, {"score": 1}, TrialState.COMPLETE, [0.5])
    elif end != "none":
        late = [vars(trial) for trial in ours._get_trials(study, None, set(), -1)] if end == "own, late" else []
        assert all(trial["state"] is TrialState.RUNNING for trial in late)
        ours.end_trial(trial_id, {"score": {"accuracy": 0.5}}, TrialState.COMPLETE, [0.5])
    for _ in range(2):
        assert [vars(trial) for trial in ours._get_trials(study, None, {trial_id}, -1)] == [vars(theirs.get_trial(trial_id))]


def test_trials_that_begin_at_the_same_time_have_numbers_of_their_own(new_url: NewUrl) -> None:
    url = new_url()
    databases = [Database(url) for _ in range(4)]
    study = databases[0].create_new_study([StudyDirection.MAXIMIZE])
    begun = create_trial(state=TrialState.RUNNING, params={"mixer": "ssa", "depth": 2, "scaled": True}, distributions=CHOICES)

    def begin(database: Database) -> list[int]:
        return [database.create_new_trial(study, begun) for _ in range(10)]

    with ThreadPoolExecutor(len(databases)) as at_once:
        ids = [one for some in at_once.map(begin, databases) for one in some]
    trials = RDBStorage(url).get_all_trials(study)
    assert [trial.number for trial in trials] == list(range(40))
    assert {trial._trial_id for trial in trials} == {*ids}
    assert all(trial.params == begun.params for trial in trials)
