"""Aging evolution inside a budget's band (Real et al., https://arxiv.org/abs/1802.01548)."""

from __future__ import annotations

import numpy as np

from nas.samplers.breeding import Breeder
from nas.samplers.in_band import InBandSampler, Past, Proposed
from proxies.band.additive_cost import AdditiveCost, CategoricalSpace
from proxies.band.band import Band
from proxies.cost import Budget

LITTER = 16
"""Children of a pair of parents, one of which is evaluated: the first that is new."""


class AgingEvolutionSampler(InBandSampler):
    """Breeds the best of a few drawn from the youngest evaluated members; the oldest ones leave by age, not by score.

    Args:
        population: how many of the youngest may become parents; as many random draws come first.
        tournament: how many of these compete to become one.
        crossover: share of children with two parents; the others are mutations of one.
        max_edits: choices that a mutation changes at most.
    """

    def __init__(
        self, space: CategoricalSpace, cost: AdditiveCost, budget: Budget, seed: int, *, band: Band | None = None, lag: int = 1,
        population: int = 32, tournament: int = 8, crossover: float = 0.25, max_edits: int = 3,
    ) -> None:
        super().__init__(space, cost, budget, seed, band=band, lag=lag)
        self.population = population
        self.tournament = tournament
        self.crossover = crossover
        self.max_edits = max_edits
        self._breeder = Breeder(self.band)

    def propose(self, past: Past) -> Proposed:
        rng = past.rng
        if len(past.rows) < self.population:
            return Proposed(self.band.sample(rng)[None], "random")
        young = range(len(past.rows) - self.population, len(past.rows))
        numbers = np.random.default_rng(rng.getrandbits(64))
        first, second = (
            np.repeat(past.rows[[max(rng.sample(young, min(self.tournament, len(young))), key=past.scores.__getitem__)]], LITTER, axis=0)
            for _ in range(2)
        )
        if rng.random() < self.crossover:
            return Proposed(self._breeder.crossover(first, second, numbers), "crossover")
        return Proposed(self._breeder.mutate(first, numbers, self.max_edits), "mutation")
