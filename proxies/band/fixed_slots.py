"""The members of a band that hold given options, as a band of their own."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from proxies.band.additive_cost import AdditiveCost, CategoricalOption, CategoricalSpace, Condition, Term
from proxies.band.architecture_band import ArchitectureBand
from proxies.band.band import Band
from proxies.cost import BudgetError
from space.architecture import Architecture


@dataclass(frozen=True)
class FixedSpace:
    """The part of a space whose members hold given options; all its slots are still there."""

    whole: CategoricalSpace
    fixed: Mapping[str, CategoricalOption]

    @property
    def name(self) -> str:
        return self.whole.name

    @property
    def slots(self) -> Mapping[str, tuple[CategoricalOption, ...]]:
        return {name: (self.fixed[name],) if name in self.fixed else options for name, options in self.whole.slots.items()}

    @property
    def conditions(self) -> Mapping[str, Condition]:
        return self.whole.conditions

    @property
    def shape_slots(self) -> tuple[str, ...]:
        return tuple(self.whole.shape_slots)

    def cost(self, whole: AdditiveCost) -> AdditiveCost:
        """What its members cost, from what those of the whole space cost."""
        return [Term(term.slots, {quantity: self._part(term.slots, costs) for quantity, costs in term.costs.items()}) for term in whole]

    def _part(self, slots: tuple[str, ...], costs: np.ndarray) -> np.ndarray:
        for axis, slot in enumerate(slots):
            if slot in self.fixed and np.ndim(costs):
                costs = np.take(costs, [self.whole.slots[slot].index(self.fixed[slot])], axis)
        return costs


def draw_with(band: ArchitectureBand, fixed: Mapping[str, CategoricalOption], rng: random.Random) -> Architecture | None:
    """Draw among the members of a band that hold given options by slot, as `Band.sample` does; None where there is none.

    What a slot holds that is inactive in a member does not matter.
    """
    space = FixedSpace(band.space, fixed)
    try:
        part = Band(space, space.cost(band.cost), band.budget, space.cost(band.peaks))
        row = part.sample(rng)
    except BudgetError:
        return None
    return band.architecture(band.rows.row(part.rows.parameters(row)))
