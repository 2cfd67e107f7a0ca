"""What a search's sampler knows from earlier searches. The study keeps a copy, so that it does not depend on what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.trial import TrialState

from nas.samplers.observed_trials import SourceTrials, member_of
from nas.study.record import StudyRecord
from proxies.band.additive_cost import Rows

SOURCE = "source"
"""The study's user attribute."""


def source_trials_of(studies: Sequence[StudyRecord], rows: Rows) -> SourceTrials | None:
    """The evaluated trials of studies with the same space, objectives and evaluator, each member once; None if there are none.

    Args:
        rows: the space's.
    """
    values: dict[bytes, list[float]] = {}
    members = {}
    for study in studies:
        for trial in study.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            member = member_of(trial, rows)
            if member is not None:
                members[member.tobytes()], values[member.tobytes()] = member, trial.values
    return SourceTrials(np.array([*members.values()]), np.array([*values.values()])) if members else None


def as_attribute(source: SourceTrials | None) -> dict[str, Any]:
    """The user attribute of a study that keeps them, by name; none if there are none."""
    return {} if source is None else {SOURCE: {"members": source.members.tolist(), "values": source.values.tolist()}}


def source_in(attributes: Mapping[str, Any]) -> SourceTrials | None:
    """What `as_attribute` has made."""
    found = attributes.get(SOURCE)
    return None if found is None else SourceTrials(np.array(found["members"], dtype=np.int64), np.array(found["values"], dtype=float))
