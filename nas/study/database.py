"""Optuna's tables, written and read with few statements: a trial of fifty parameters appears in one transaction, and ends in one.

Optuna looks each parameter up before it writes it, in a statement of its own, and makes objects of all rows that it reads. What is
written and read is the same; the tests compare it.
"""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState

from nas.study.statements import OF_SYSTEM, OF_USER, PARAMETERS, READ, TRIALS, VALUES, Rows, check_study, is_server, write_begin, write_end


class Database(RDBStorage):
    """SQLite or PostgreSQL. A trial that this process has created as a whole, and that nobody else has ended, is not read again."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._own: dict[int, FrozenTrial] = {}
        self._last: tuple[dict[str, BaseDistribution], dict[str, str]] = {}, {}

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        if template_trial is None or template_trial.values or template_trial.intermediate_values:
            return super()._create_new_trial(study_id, template_trial)
        distributions, texts = self._last
        if distributions is not template_trial.distributions:
            distributions = template_trial.distributions
            texts = {name: distribution_to_json(distribution) for name, distribution in distributions.items()}
            # A study's are the same for all of its trials.
            self._last = distributions, texts
        rows: Rows = {
            PARAMETERS: {
                name: (distribution.to_internal_repr(template_trial.params[name]), texts[name])
                for name, distribution in distributions.items()
            },
            OF_USER: _as_texts(template_trial.user_attrs),
            OF_SYSTEM: _as_texts(template_trial.system_attrs),
        }
        state, start = template_trial.state, _as_stored(template_trial.datetime_start)
        with self.engine.begin() as connection:
            trial_id, number = write_begin(connection, study_id, state, start, rows)
        created = copy.copy(template_trial)
        created.number, created._trial_id = number, trial_id
        self._own[trial_id] = created
        return created

    def end_trial(self, trial_id: int, attributes: Mapping[str, Any], state: TrialState, values: Sequence[float] | None = None) -> None:
        """Give a trial its last user attributes, its values and its state, all of it or nothing.

        Raises:
            optuna.exceptions.UpdateFinishedTrialError: it has ended already.
        """
        ended = datetime.now()
        stored = [models.TrialValueModel.value_to_stored_repr(value) for value in values or ()]
        rows: Rows = {
            VALUES: {str(objective): (value, kind.name) for objective, (value, kind) in enumerate(stored)},
            OF_USER: _as_texts(attributes),
        }
        with self._at_once() if is_server(self.engine) else self.engine.begin() as connection:
            if not write_end(connection, trial_id, state, _as_stored(ended), rows):
                found = connection.execute(sqlalchemy.select(TRIALS.c.state).where(TRIALS.c.trial_id == trial_id)).scalar()
                if found is None:
                    raise KeyError(f"trial: got no identifier {trial_id}, expected one of a trial")
                self.check_trial_is_updatable(trial_id, found)
        if (own := self._own.get(trial_id)) is not None:
            own = self._own[trial_id] = copy.copy(own)
            own.user_attrs = {**own.user_attrs, **attributes}
            own.state, own.values, own.datetime_complete = state, values, ended

    def _get_trials(
        self, study_id: int, states: Container[TrialState] | None, included_trial_ids: set[int], trial_id_greater_than: int
    ) -> list[FrozenTrial]:
        if states is not None:
            return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        first = min((*included_trial_ids, trial_id_greater_than + 1))
        asked_for = {"of_study": study_id, "unfinished": sorted(included_trial_ids), "newest": trial_id_greater_than, "first": first}
        with self._at_once() as connection:
            trials = connection.execute(READ, asked_for).all()
            if not trials:
                check_study(connection, study_id)
                return []
            own = [self._own.get(trial.trial_id) for trial in trials]
            read = {known._trial_id: known for known, trial in zip(own, trials, strict=True) if known and known.state is trial.state}
            if len(read) < len(trials):
                ids = READ.with_only_columns(TRIALS.c.trial_id).where(TRIALS.c.trial_id.not_in(list(read))).order_by(None)

                def by_trial(model: Any) -> dict[int, list[Any]]:
                    """The rows that belong to each trial, in the order in which they were written."""
                    rows: dict[int, list[Any]] = defaultdict(list)
                    table = model.__table__
                    belonging = sqlalchemy.select(table).where(table.c.trial_id.in_(ids)).order_by(*table.primary_key)
                    for row in connection.execute(belonging, asked_for):
                        rows[row.trial_id].append(row)
                    return rows

                belonging = [by_trial(model) for model in _BELONGING]
                read |= {trial.trial_id: _frozen(trial, *belonging) for trial in trials if trial.trial_id not in read}
        for trial in trials:
            if trial.state.is_finished():
                # Whoever reads trials keeps those that have ended.
                self._own.pop(trial.trial_id, None)
        return [read[trial.trial_id] for trial in trials]

    def _at_once(self) -> sqlalchemy.Connection:
        """For statements each of which stands for itself: a transaction around one would ask a server twice more."""
        connection = self.engine.connect()
        return connection.execution_options(isolation_level="AUTOCOMMIT") if is_server(self.engine) else connection


_BELONGING = (
    models.TrialParamModel,
    models.TrialValueModel,
    models.TrialIntermediateValueModel,
    models.TrialUserAttributeModel,
    models.TrialSystemAttributeModel,
)
_Rows = Mapping[int, Sequence[Any]]


def _frozen(trial: Any, parameters: _Rows, values: _Rows, steps: _Rows, of_user: _Rows, of_system: _Rows) -> FrozenTrial:
    """A trial from its own row, and from rows of each of the tables that belong to it."""
    key = trial.trial_id
    value_of, step_of = models.TrialValueModel.stored_repr_to_value, models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
    by_objective = {row.objective: value_of(row.value, row.value_type) for row in values[key]}
    distributions = {row.param_name: _distribution(row.distribution_json) for row in parameters[key]}
    params = {row.param_name: distributions[row.param_name].to_external_repr(row.param_value) for row in parameters[key]}
    return FrozenTrial(
        number=trial.number,
        trial_id=key,
        state=trial.state,
        value=None,
        values=[by_objective[objective] for objective in range(len(by_objective))] or None,
        datetime_start=_as_told(trial.datetime_start),
        datetime_complete=_as_told(trial.datetime_complete),
        params=params,
        distributions=distributions,
        user_attrs={row.key: json.loads(row.value_json) for row in of_user[key]},
        system_attrs={row.key: json.loads(row.value_json) for row in of_system[key]},
        intermediate_values={row.step: step_of(row.intermediate_value, row.intermediate_value_type) for row in steps[key]},
    )


_distribution = lru_cache(maxsize=1024)(json_to_distribution)


def _as_stored(time: datetime | None) -> datetime | None:
    """A local time as Optuna's tables hold it."""
    return None if time is None else time.astimezone(UTC).replace(tzinfo=None)


def _as_told(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def _as_texts(attributes: Mapping[str, Any]) -> dict[str, tuple[str]]:
    return {key: (json.dumps(value),) for key, value in attributes.items()}
