"""The statements that Optuna's tables are written and read by, made once: none is put together anew for a trial, and none looks at all.

A server is told of a trial in one statement, its rows as JSON: its driver would send fifty rows one by one. SQLite takes rows fast,
and knows no such statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import CTE, JSON, BindParameter, Connection, Engine, Table, bindparam, cast, column, func, insert, select, true, update
from sqlalchemy.dialects import sqlite

TRIALS: Table = models.TrialModel.__table__
STUDIES: Table = models.StudyModel.__table__
PARAMETERS: Table = models.TrialParamModel.__table__
VALUES: Table = models.TrialValueModel.__table__
OF_USER: Table = models.TrialUserAttributeModel.__table__
OF_SYSTEM: Table = models.TrialSystemAttributeModel.__table__

Rows = Mapping[Table, Mapping[str, Sequence[str | float | None]]]
"""What belongs to a trial, by table and by what a table holds one of: the values of its other columns, names for enumerations."""

_COLUMNS = {
    PARAMETERS: ("param_name", "param_value", "distribution_json"),
    VALUES: ("objective", "value", "value_type"),
    OF_USER: ("key", "value_json"),
    OF_SYSTEM: ("key", "value_json"),
}


def write_begin(connection: Connection, study_id: int, state: TrialState, start: datetime | None, rows: Rows) -> tuple[int, int]:
    """Write a trial. Returns its identifier and its number.

    Args:
        rows: for all tables but that of values.

    Raises KeyError where there is no such study.
    """
    begun = {"of_study": study_id, "at_first": state, "start": start}
    if is_server(connection):
        # Locks the study before the trial is written: that statement goes by what there was when it began to wait.
        check_study(connection, study_id)
        trial_id, number = connection.execute(_BEGIN_AT_ONCE, begun | _as_json(rows)).one()
        return trial_id, number
    found = connection.execute(_BEGIN, begun).first()
    if found is None:
        raise _no_study(study_id)
    _insert(connection, found.trial_id, rows)
    return found.trial_id, found.number


def write_end(connection: Connection, trial_id: int, state: TrialState, end: datetime | None, rows: Rows) -> bool:
    """Write a trial's end. Returns false where there is no trial under way with this identifier; then nothing is written.

    Args:
        rows: for the tables of values and of user attributes.
    """
    ended = {"ended": trial_id, "at_last": state, "end": end}
    if is_server(connection):
        return connection.execute(_END_AT_ONCE, ended | _as_json(rows)).first() is not None
    if not connection.execute(_END, ended).rowcount:
        return False
    _insert(connection, trial_id, rows)
    return True


def check_study(connection: Connection, study_id: int) -> None:
    """KeyError where there is no such study; a server lets nobody else create trials of it until the transaction ends."""
    if connection.execute(_LOCK, {"of_study": study_id}).first() is None:
        raise _no_study(study_id)


def _no_study(study_id: int) -> KeyError:
    return KeyError(f"study: got no identifier {study_id}, expected one of a study")


def is_server(bind: Connection | Engine) -> bool:
    """Whether each statement is a journey to a server and back."""
    return bind.dialect.name == "postgresql"


def _as_json(rows: Rows) -> dict[str, Mapping[str, Sequence[str | float | None]]]:
    return {table.name: of_table for table, of_table in rows.items()}


def _insert(connection: Connection, trial_id: int, rows: Rows) -> None:
    for table, of_table in rows.items():
        if of_table:
            connection.exec_driver_sql(_INSERT[table], [(trial_id, key, *values) for key, values in of_table.items()])


def _inserted(table: Table, trial: CTE) -> CTE:
    """The rows of a table, inserted from JSON, in the statement that writes their trial."""
    each = func.json_each(bindparam(table.name, type_=JSON)).table_valued("key", column("value", JSON))
    key, *others = (table.c[name].type for name in _COLUMNS[table])
    values = [cast(each.c.value[place].as_string(), kind) for place, kind in enumerate(others)]
    rows = select(trial.c.trial_id, cast(each.c.key, key), *values).select_from(trial.join(each, true()))
    return insert(table).from_select(("trial_id", *_COLUMNS[table]), rows).cte(f"inserted_{table.name}")


_INSERT = {
    table: str(insert(table).compile(column_keys=("trial_id", *columns), dialect=sqlite.dialect())) for table, columns in _COLUMNS.items()
}
_OF_STUDY: BindParameter[int] = bindparam("of_study")
_FIRST: BindParameter[int] = bindparam("first")
_NEWEST: BindParameter[int] = bindparam("newest")
_UNFINISHED: BindParameter[int] = bindparam("unfinished", expanding=True)

_LOCK = select(STUDIES.c.study_id).where(STUDIES.c.study_id == _OF_STUDY).with_for_update()
# Numbers count a study's trials: the last one tells, and need not be counted with all others.
_LAST = select(TRIALS.c.number).where(TRIALS.c.study_id == _OF_STUDY).order_by(TRIALS.c.trial_id.desc()).limit(1)
_NUMBER = func.coalesce(_LAST.scalar_subquery() + 1, 0)
_FIRST_STATE, _START = bindparam("at_first", type_=TRIALS.c.state.type), bindparam("start", type_=TRIALS.c.datetime_start.type)
_NEW = select(STUDIES.c.study_id, _NUMBER, _FIRST_STATE, _START).where(STUDIES.c.study_id == _OF_STUDY)
_BEGIN = insert(TRIALS).from_select(("study_id", "number", "state", "datetime_start"), _NEW).returning(TRIALS.c.trial_id, TRIALS.c.number)
_BEGUN = _BEGIN.cte("begun")
_BEGIN_AT_ONCE = select(_BEGUN).add_cte(*(_inserted(table, _BEGUN) for table in (PARAMETERS, OF_USER, OF_SYSTEM)))
_UNDER_WAY = [state for state in TrialState if not state.is_finished()]
_END = (
    update(TRIALS)
    .where(TRIALS.c.trial_id == bindparam("ended"), TRIALS.c.state.in_(_UNDER_WAY))
    .values(state=bindparam("at_last"), datetime_complete=bindparam("end"))
)
_ENDED = _END.returning(TRIALS.c.trial_id).cte("ended")
_END_AT_ONCE = select(_ENDED).add_cte(*(_inserted(table, _ENDED) for table in (VALUES, OF_USER)))
_ASKED_FOR = TRIALS.c.trial_id.in_(_UNFINISHED) | (TRIALS.c.trial_id > _NEWEST)
# That none comes before the first is said apart: it is looked up, and the others are not looked at.
READ = select(TRIALS).where(TRIALS.c.study_id == _OF_STUDY, TRIALS.c.trial_id >= _FIRST, _ASKED_FOR).order_by(TRIALS.c.trial_id)
"""Trials of a study, in order: those with some identifiers, and all that are newer than a number."""
