"""Optuna's tables, written with few statements: a trial of fifty parameters appears in one transaction, and ends in one.

Optuna looks each parameter up before it writes it, in a statement of its own. What is written is the same; the tests compare it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy
from optuna.distributions import distribution_to_json
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


def _attributes(trial_id: int, attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"trial_id": trial_id, "key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]


def _insert(session: Any, model: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        session.execute(sqlalchemy.insert(model), rows)
