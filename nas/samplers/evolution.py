"""Aging evolution inside a budget's band (Real et al., https://arxiv.org/abs/1802.01548)."""

from __future__ import annotations

import numpy as np

from nas.samplers.in_band import Candidates, InBandSampler
from nas.samplers.observed_trials import ObservedTrials, SourceTrials
from nas.samplers.variation import offspring
from proxies.band.band import Band

NUM_OFFSPRING = 16
"""Children made of each choice of parents. The first that no trial has is evaluated."""


class AgingEvolutionSampler(InBandSampler):
    """Varies the winners of tournaments among the youngest trials. The oldest trials leave the population, whatever their scores.

    Args:
        population: number of the youngest trials that may become parents. As many random draws come first.
        tournament: trials drawn from these; the best of them becomes a parent.
        crossover: share of children with two parents; the others are mutations of one.
        max_edits: slots that a mutation changes at most.
    """

    def __init__(
        self, band: Band, seed: int, *, staleness: int = 1, source: SourceTrials | None = None, population: int = 32,
        tournament: int = 8, crossover: float = 0.25, max_edits: int = 3,
    ) -> None:  # fmt: skip
        super().__init__(band, seed, staleness=staleness, source=source)
        self.population = population
        self.tournament = tournament
        self.crossover = crossover
        self.max_edits = max_edits

    def propose(self, trials: ObservedTrials) -> Candidates:
        if len(trials.members) < self.population:
            return self.random_candidate(trials)
        rng = trials.rng
        young = range(len(trials.members) - self.population, len(trials.members))
        generator = np.random.default_rng(rng.getrandbits(64))
        winners = [max(rng.sample(young, min(self.tournament, len(young))), key=trials.scores.__getitem__) for _ in range(2)]
        first, second = (np.repeat(trials.members[[winner]], NUM_OFFSPRING, axis=0) for winner in winners)
        is_crossover = rng.random() < self.crossover
        children = offspring(self.band, first, second, 0 if is_crossover else NUM_OFFSPRING, generator, self.max_edits)
        return Candidates(children, "crossover" if is_crossover else "mutation")
