"""Choose what to pack: the greatest value that weighs at most four kilograms, and at least three."""

from dataclasses import dataclass, field

import numpy as np
import optuna
import optunahub

package = optunahub.load_module("samplers/in_band")
VALUES = {"tent": 5, "stove": 3, "lamp": 2, "map": 1, "rope": 2, "books": 1}
GRAMS = {"tent": 2200, "stove": 900, "lamp": 300, "map": 100, "rope": 1400, "books": 1600}


@dataclass(frozen=True)
class Packing:
    name: str = "packing"
    slots: dict = field(default_factory=lambda: dict.fromkeys(VALUES, (False, True)))
    conditions: dict = field(default_factory=dict)
    shape_slots: tuple = ()


def value(trial: optuna.Trial) -> float:
    return sum(worth for thing, worth in VALUES.items() if trial.suggest_categorical(thing, (False, True)))


weights = [package.Term((thing,), {"params": np.array([0, grams])}) for thing, grams in GRAMS.items()]
band = package.band_of(Packing(), weights, package.Budget({"params": 4000}, floor=0.75))
study = optuna.create_study(direction="maximize", sampler=package.SurrogateSampler(band, seed=0))
study.optimize(value, n_trials=12)
print(study.best_value, study.best_params)
