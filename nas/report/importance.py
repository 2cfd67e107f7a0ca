"""Which of the space's slots decide whether an architecture is among the best, by Optuna's PED-ANOVA.

PED-ANOVA (https://arxiv.org/abs/2304.10255) holds the choices of the best tenth of the trials against those of all
trials, so it does not mind that a sampler does not draw evenly. Slots of blocks that a shallow stage drops count only
where the block stands (https://arxiv.org/abs/2601.20800).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.storages import InMemoryStorage
from optuna.trial import create_trial

from nas.report.choices import BEST_SHARE
from nas.study.record import Result
from space.search_space import Option, SearchSpace

LEAST_TRIALS = 50
"""So that the best tenth are five at the least, as Optuna advises."""


def importances_of(space: SearchSpace, results: Sequence[Result]) -> dict[str, float]:
    """Every slot's share of what decides, greatest first, for the log-likelihood; nothing of too few trials."""
    if len(results) < LEAST_TRIALS:
        return {}
    slots = {name: options for name, options in space.slots.items() if len(options) > 1}
    distributions: dict[str, BaseDistribution] = {name: CategoricalDistribution(options) for name, options in slots.items()}
    study = optuna.create_study(storage=InMemoryStorage(), study_name="importance", direction="maximize")
    for result in sorted(results, key=lambda result: result.place):
        told = space.parameters_of(result.architecture)
        counts = {name: told[name] for name in distributions if _counts(space, name, told)}
        own = {name: distributions[name] for name in counts}
        study.add_trial(create_trial(params=counts, distributions=own, value=result.score.log_likelihood))
    return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE))


def _counts(space: SearchSpace, name: str, told: Mapping[str, Option]) -> bool:
    if name not in space.conditions:
        return True
    depth, standing = space.conditions[name]
    return told[depth] in standing
