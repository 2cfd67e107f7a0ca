"""Optuna's tables, written and read with few statements: a trial of fifty parameters appears in one transaction, and ends in one.

Optuna looks each parameter up before it writes it, in a statement of its own, and makes objects of all rows that it reads. What is
written and read is the same; the tests compare it.
"""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import sqlalchemy
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState


class Database(RDBStorage):
    """SQLite or PostgreSQL."""

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        if template_trial is None or template_trial.values or template_trial.intermediate_values:
            return super()._create_new_trial(study_id, template_trial)
        with _create_scoped_session(self.scoped_session) as session:
            models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
            started = template_trial.datetime_start
            trial: Any = models.TrialModel(study_id=study_id, number=None, state=template_trial.state, datetime_start=started)
            session.add(trial)
            session.flush()
            number, trial_id = trial.count_past_trials(session), trial.trial_id
            trial.number = number
            parameters = [
                {
                    "trial_id": trial_id,
                    "param_name": name,
                    "param_value": distribution.to_internal_repr(template_trial.params[name]),
                    "distribution_json": distribution_to_json(distribution),
                }
                for name, distribution in template_trial.distributions.items()
            ]
            _insert(session, models.TrialParamModel, parameters)
            _insert(session, models.TrialUserAttributeModel, _attributes(trial_id, template_trial.user_attrs))
            _insert(session, models.TrialSystemAttributeModel, _attributes(trial_id, template_trial.system_attrs))
        created = copy.copy(template_trial)
        created.number, created._trial_id = number, trial_id
        return created

    def end_trial(self, trial_id: int, attributes: Mapping[str, Any], state: TrialState, values: Sequence[float] | None = None) -> None:
        """Give a trial its last user attributes, its values and its state, all of it or nothing.

        Raises:
            optuna.exceptions.UpdateFinishedTrialError: it has ended already.
        """
        with _create_scoped_session(self.scoped_session) as session:
            trial: Any = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
            self.check_trial_is_updatable(trial_id, trial.state)
            _insert(session, models.TrialUserAttributeModel, _attributes(trial_id, attributes))
            stored = [models.TrialValueModel.value_to_stored_repr(value) for value in values or ()]
            rows = [
                {"trial_id": trial_id, "objective": objective, "value": value, "value_type": kind}
                for objective, (value, kind) in enumerate(stored)
            ]
            _insert(session, models.TrialValueModel, rows)
            trial.state = state
            trial.datetime_complete = datetime.now()

    def _get_trials(
        self, study_id: int, states: Container[TrialState] | None, included_trial_ids: set[int], trial_id_greater_than: int
    ) -> list[FrozenTrial]:
        if states is not None:
            return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        with _create_scoped_session(self.scoped_session) as session:
            models.StudyModel.find_or_raise_by_id(study_id, session)
            connection, table = session.connection(), models.TrialModel.__table__
            is_asked_for = sqlalchemy.or_(table.c.trial_id > trial_id_greater_than, table.c.trial_id.in_(sorted(included_trial_ids)))
            asked_for = table.c.study_id == study_id, is_asked_for
            trials = connection.execute(sqlalchemy.select(table).where(*asked_for).order_by(table.c.trial_id)).all()
            ids = sqlalchemy.select(table.c.trial_id).where(*asked_for)

            def by_trial(model: Any) -> dict[int, list[Any]]:
                """The rows that belong to each trial, in the order in which they were written."""
                rows: dict[int, list[Any]] = defaultdict(list)
                table = model.__table__
                for row in connection.execute(sqlalchemy.select(table).where(table.c.trial_id.in_(ids)).order_by(*table.primary_key)):
                    rows[row.trial_id].append(row)
                return rows

            return _frozen(trials, *map(by_trial, _BELONGING)) if trials else []


_BELONGING = (
    models.TrialParamModel,
    models.TrialValueModel,
    models.TrialIntermediateValueModel,
    models.TrialUserAttributeModel,
    models.TrialSystemAttributeModel,
)
_Rows = Mapping[int, Sequence[Any]]


def _frozen(trials: Sequence[Any], parameters: _Rows, values: _Rows, steps: _Rows, of_user: _Rows, of_system: _Rows) -> list[FrozenTrial]:
    """Trials from their own rows, and from rows of each of the tables that belong to them."""
    frozen = []
    value_of, step_of = models.TrialValueModel.stored_repr_to_value, models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
    for trial in trials:
        key = trial.trial_id
        by_objective = {row.objective: value_of(row.value, row.value_type) for row in values[key]}
        distributions = {row.param_name: _distribution(row.distribution_json) for row in parameters[key]}
        frozen.append(
            FrozenTrial(
                number=trial.number,
                trial_id=key,
                state=trial.state,
                value=None,
                values=[by_objective[objective] for objective in range(len(by_objective))] or None,
                datetime_start=trial.datetime_start,
                datetime_complete=trial.datetime_complete,
                params={row.param_name: distributions[row.param_name].to_external_repr(row.param_value) for row in parameters[key]},
                distributions=distributions,
                user_attrs={row.key: json.loads(row.value_json) for row in of_user[key]},
                system_attrs={row.key: json.loads(row.value_json) for row in of_system[key]},
                intermediate_values={row.step: step_of(row.intermediate_value, row.intermediate_value_type) for row in steps[key]},
            )
        )
    return frozen


_distribution = lru_cache(maxsize=1024)(json_to_distribution)


def _attributes(trial_id: int, attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"trial_id": trial_id, "key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]


def _insert(session: Any, model: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        session.execute(sqlalchemy.insert(model), rows)
