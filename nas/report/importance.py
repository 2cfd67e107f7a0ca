"""Which of the space's slots decide whether an architecture is among the best, by Optuna's PED-ANOVA.

PED-ANOVA (https://arxiv.org/abs/2304.10255) compares the choices of the best tenth of the trials with those of all
trials, so samplers need not draw evenly. Slots of a block count only in architectures that are deep enough to have the
block (https://arxiv.org/abs/2601.20800).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.storages import InMemoryStorage
from optuna.trial import create_trial

from nas.report.mixer_counts import BEST_SHARE
from nas.study.record import Result
from space.search_space import Option, SearchSpace

LEAST_TRIALS = 50
"""So that the best tenth are at least five, as Optuna advises."""


def importances_of(space: SearchSpace, results: Sequence[Result]) -> dict[str, float]:
    """The importance of every slot for the log-likelihood, in shares of 1, greatest first; empty for fewer than `LEAST_TRIALS`."""
    if len(results) < LEAST_TRIALS:
        return {}
    slots = {name: options for name, options in space.slots.items() if len(options) > 1}
    distributions: dict[str, BaseDistribution] = {name: CategoricalDistribution(options) for name, options in slots.items()}
    study = optuna.create_study(storage=InMemoryStorage(), study_name="importance", direction="maximize")
    for result in sorted(results, key=lambda result: result.index):
        parameters = space.parameters_of(result.architecture)
        active = {name: parameters[name] for name in distributions if _is_active(space, name, parameters)}
        own = {name: distributions[name] for name in active}
        study.add_trial(create_trial(params=active, distributions=own, value=result.score.log_likelihood))
    return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE))


def _is_active(space: SearchSpace, name: str, parameters: Mapping[str, Option]) -> bool:
    if name not in space.conditions:
        return True
    depth, depths = space.conditions[name]
    return parameters[depth] in depths
