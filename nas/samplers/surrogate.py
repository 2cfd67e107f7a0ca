"""Bayesian optimisation inside a budget's band. Proposal N is made in three steps:

1. A Gaussian process is fitted to the completed trials up to N - staleness (`gaussian_process.py`: its kernel adds effects of single
   options, of pairs of options, and of similarity; the marginal likelihood weighs them). Trials in between may still run; they
   count with their posterior mean, so that parallel proposals do not crowd ("kriging believer").
2. The acquisition function is the upper confidence bound, posterior mean + beta * posterior standard deviation. Beta is 0.35 for each
   active slot, 4.5 at most: as in GP-UCB (Srinivas et al., https://arxiv.org/abs/0912.3995), more members need more exploration. An
   evolutionary search maximises the bound: it starts from the trials in the band with the highest posterior mean, and every member that
   it visits lies in the band.
3. The best candidate that no trial has is proposed.

Each step is a function of the seed, of N and of these trials, not of what else has finished. So any number of workers, and a search
that was interrupted, get the same proposals.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nas.samplers.gaussian_process import CholeskyFactor, Features, Floats, GaussianProcess, Kernel, fit_kernel
from nas.samplers.in_band import Candidates, InBandSampler
from nas.samplers.observed_trials import Members, ObservedTrials, SourceTrials, keys_of
from nas.samplers.variation import offspring
from proxies.band.band import Band

Indices = NDArray[np.int64]

RESTART_EVERY = 4
"""One proposal in so many maximises the acquisition function from scratch; the others refine its candidates, in a fraction of the time."""
REFIT_EVERY = 10
"""Completed trials after which the kernel is fitted anew; the number doubles with their number, from `REFIT_OFTEN` on."""
REFIT_OFTEN = 200
MAX_OBSERVED = 140
"""Completed trials that the Gaussian process is fitted to at most, the best and the latest. Its time grows with the square and more."""
MAX_FITTED = 120
"""The same for fitting the kernel."""
WORST = -3.0
"""Least standardised score: how bad a network is that does not learn says nothing about the good ones."""
BETA_PER_SLOT = 0.35
"""Weight of the posterior standard deviation for each active slot of random members: spaces with few slots need less exploration."""
PARENTS = 12
"""Trials with the highest posterior mean, which every generation of candidates descends from."""
RANDOM_PARENTS = 16
"""Random members among the first parents of a search from scratch, out of a pool of `RANDOM_POOL`."""
RANDOM_POOL = 256
KEPT = 24
"""Candidates that each generation keeps, and that the next one also descends from."""
REFINING_GENERATIONS = 2
"""Generations of a search that starts from the candidates of an earlier one."""


@dataclass(frozen=True)
class WarmStart:
    """What the next proposals reuse of one that maximised the acquisition function from scratch.

    Args:
        observed: indices of the completed trials that its Gaussian process was fitted to.
        num_completed: completed trials at that time.
        factor: of the covariance of `observed`.
        candidates: (n, slots), by falling acquisition.
    """

    observed: Indices
    num_completed: int
    factor: CholeskyFactor
    candidates: Members


class SurrogateSampler(InBandSampler):
    """Proposes the member with the highest upper confidence bound under a Gaussian process.

    It learns from all completed trials, enqueued ones and those of a source included: what is known beforehand saves evaluations.

    Args:
        n_startup_trials: completed trials before the first model, but no more than the space has slots; until then members are drawn at
            random.
        max_beta: greatest weight of the posterior standard deviation; more explores more.
        generations: of a search from scratch for the maximum of the acquisition function.
        num_offspring: members made in each generation; some turn out to lie outside the band.
    """

    def __init__(
        self, band: Band, seed: int, *, staleness: int = 1, source: SourceTrials | None = None, n_startup_trials: int = 10,
        max_beta: float = 4.5, generations: int = 5, num_offspring: int = 150,
    ) -> None:  # fmt: skip
        super().__init__(band, seed, staleness=staleness, source=source)
        self.n_startup_trials = min(n_startup_trials, len(band.rows.names))
        self.max_beta = max_beta
        self.generations = generations
        self.num_offspring = num_offspring
        self._features = Features(band.rows)
        self._last_kernel: tuple[tuple[object, ...], Kernel] = ((), Kernel())
        self._last_start: tuple[tuple[object, ...], WarmStart] | None = None

    def propose(self, trials: ObservedTrials) -> Candidates:
        if len(trials.members) < self.n_startup_trials:
            return self.random_candidate(trials)
        restart = trials.index - trials.index % RESTART_EVERY
        if restart == trials.index or len((earlier := trials.earlier(restart)).members) < self.n_startup_trials:
            candidates = self._from_scratch(trials).candidates
        else:
            start = self._from_scratch(earlier)
            posterior, parents = self._posterior(trials, start.observed, start.num_completed, start.factor)
            pool = np.concatenate((parents, start.candidates))
            rng = np.random.default_rng(trials.rng.getrandbits(64))
            candidates = self._maximise_acquisition(posterior, parents, pool, REFINING_GENERATIONS, trials, rng)
        return Candidates(trials.untaken(candidates), "surrogate")

    def _from_scratch(self, trials: ObservedTrials) -> WarmStart:
        """Fit the Gaussian process and maximise the acquisition function without a warm start. The last result is cached."""
        seed = trials.rng.getrandbits(64)
        key = trials.study, trials.index, len(trials.members), trials.pending.tobytes()
        if self._last_start is None or self._last_start[0] != key:
            observed, count = _best_and_latest(trials.scores, trials.num_source, MAX_OBSERVED), len(trials.members)
            factor = CholeskyFactor.of(self._features(trials.members[observed]), self._kernel(trials))
            posterior, parents = self._posterior(trials, observed, count, factor)
            rng = np.random.default_rng(seed)
            pool = np.concatenate((parents, self._random_pool[rng.integers(len(self._random_pool), size=RANDOM_PARENTS)]))
            candidates = self._maximise_acquisition(posterior, parents, pool, self.generations, trials, rng)
            self._last_start = key, WarmStart(observed, count, factor, candidates)
        return self._last_start[1]

    def _posterior(
        self, trials: ObservedTrials, observed: Indices, num_completed: int, factor: CholeskyFactor
    ) -> tuple[GaussianProcess, Members]:
        """The Gaussian process given the completed trials, and the PARENTS of them in the band with the highest posterior mean.

        Args:
            observed: indices of the trials that the factor is of.
            num_completed: trials from here on are added to them, and so are the pending ones.
        """
        added = np.concatenate((trials.members[num_completed:], trials.pending))
        if len(added):
            factor = factor.extended(self._features(added))
        observed = np.concatenate((observed, np.arange(num_completed, len(trials.members))))
        posterior = GaussianProcess(factor, _standardised(trials.scores, trials.num_source)[observed])
        best_first = trials.members[observed[np.argsort(-posterior.fitted, kind="stable")]]
        return posterior, best_first[self.band.admits(best_first)][:PARENTS]

    def _maximise_acquisition(
        self, posterior: GaussianProcess, parents: Members, pool: Members, generations: int, trials: ObservedTrials,
        rng: np.random.Generator,
    ) -> Members:  # fmt: skip
        """Evolve a pool for some generations; unobserved candidates by falling upper confidence bound, `KEPT` at most."""
        candidates, bounds, unscored = pool[:0], np.empty(0), pool
        seen: set[bytes] = set()
        for _ in range(generations):
            first, second = pool[rng.integers(len(pool), size=(2, self.num_offspring))]
            children = offspring(self.band, first, second, self.num_offspring * 2 // 3, rng)
            unscored = _unseen(np.concatenate((unscored, children)), seen, trials)
            means, deviations = posterior.predict(self._features(unscored))
            candidates, bounds = np.concatenate((candidates, unscored)), np.concatenate((bounds, means + self.beta * deviations))
            kept = np.argsort(-bounds, kind="stable")[:KEPT]
            candidates, bounds, unscored = candidates[kept], bounds[kept], pool[:0]
            pool = np.concatenate((parents, candidates))
        return candidates

    def _kernel(self, trials: ObservedTrials) -> Kernel:
        """The kernel fitted to the trials that were complete when it was last due."""
        count = len(trials.members)
        every = REFIT_EVERY * (1 << (count // REFIT_OFTEN).bit_length())
        count = max(count - count % every, self.n_startup_trials)
        # An earlier trial that completes late changes the last of the first `count` indices. Weights of objectives are each proposal's own.
        key = trials.study, count, int(trials.indices[count - 1]), trials.index if len(trials.directions) > 1 else None
        if self._last_kernel[0] != key:
            members, scores = trials.members[:count], trials.scores[:count]
            num_source = min(trials.num_source, count)
            observed = _best_and_latest(scores, num_source, MAX_FITTED)
            self._last_kernel = key, fit_kernel(self._features(members[observed]), _standardised(scores, num_source)[observed])
        return self._last_kernel[1]

    @cached_property
    def beta(self) -> float:
        """Weight of the posterior standard deviation in the upper confidence bound."""
        num_active = float(self.band.rows.active(self._random_pool).sum(axis=1).mean())
        return min(BETA_PER_SLOT * num_active, self.max_beta)

    @cached_property
    def _random_pool(self) -> Members:
        rng = random.Random(self.seed)
        return np.array([self.band.sample(rng) for _ in range(RANDOM_POOL)])


def _standardised(scores: Floats, num_source: int) -> Floats:
    """Scores (n,) with the median at 0, in standard deviations as the better half has them. None lies below WORST in its own study."""
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return np.zeros(len(scores))
    parts = [_clipped(part) for part in np.split(scores, [num_source])]
    median, deviation = _median_and_deviation(np.concatenate(parts))
    return (np.concatenate(parts) - median) / deviation


def _clipped(scores: Floats) -> Floats:
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return scores
    median, deviation = _median_and_deviation(finite)
    return np.clip(scores, median + WORST * deviation, finite.max())


def _median_and_deviation(scores: Floats) -> tuple[float, float]:
    median, high = np.interp((0.5, 0.9), np.linspace(0, 1, len(scores)), np.sort(scores)).tolist()
    # The 0.9 quantile of a normal distribution lies 1.28 standard deviations above its median.
    return median, (high - median) / 1.28 or 1.0


def _best_and_latest(scores: Floats, num_source: int, count: int) -> Indices:
    """Indices of at most `count` scores, in order. Of the study's own: the latest, as half of them, and the best of the others. Where that
    leaves places, the best of source trials, which come first among the scores."""
    num_others = max(len(scores) - count // 2, num_source)
    best = num_source + np.argsort(-scores[num_source:num_others], kind="stable")[: count - count // 2]
    own = np.concatenate((np.sort(best), np.arange(num_others, len(scores))))
    source = np.argsort(-scores[:num_source], kind="stable")[: count - len(own)]
    return np.concatenate((np.sort(source), own))


def _unseen(members: Members, seen: set[bytes], trials: ObservedTrials) -> Members:
    """Those of some members (n, slots) that no earlier trial has and whose keys are not in `seen`, each once. It gets their keys."""
    indices = []
    for index, key in enumerate(keys_of(members)):
        if key not in seen:
            seen.add(key)
            # Not all that are taken: trials later than what this proposal may know must not change it.
            if not trials.is_of_earlier(key):
                indices.append(index)
    return members[indices]
