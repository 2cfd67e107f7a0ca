"""Aging evolution inside a budget's band (Real et al., https://arxiv.org/abs/1802.01548)."""

from __future__ import annotations

import random

from nas.samplers.in_band import InBandSampler, Past, Proposed
from proxies.band import Band


class AgingEvolutionSampler(InBandSampler):
    """Breeds the best of a few drawn from the youngest evaluated architectures; the oldest ones leave by age, not by score.

    Args:
        population: how many of the youngest may become parents; as many random draws come first.
        tournament: how many of these compete to become one.
        crossover: share of children with two parents; the others are mutations of one.
    """

    def __init__(self, band: Band, seed: int, population: int = 32, tournament: int = 8, crossover: float = 0.25) -> None:
        super().__init__(band, seed)
        self.population = population
        self.tournament = tournament
        self.crossover = crossover

    def propose(self, past: Past, rng: random.Random) -> Proposed:
        if len(past.scored) < self.population:
            return Proposed(self.band.sample(rng), "random")
        young = past.scored[-self.population:]

        def parent() -> int:
            return max(rng.sample(range(len(young)), min(self.tournament, len(young))), key=lambda index: young[index].score)

        first = young[parent()].architecture
        if rng.random() < self.crossover:
            return Proposed(self.band.crossover(first, young[parent()].architecture, rng), "crossover")
        return Proposed(self.band.mutate(first, rng), "mutation")
