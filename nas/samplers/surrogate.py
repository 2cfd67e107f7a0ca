"""Search led by a surrogate: breed candidates in the band, evaluate the one of greatest upper confidence bound."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nas.samplers.breeding import Breeder
from nas.samplers.gaussian_process import Features, Floats, GaussianProcess, Kernel, Known, chosen_kernel
from nas.samplers.in_band import InBandSampler, Past, Proposed
from nas.samplers.past import fresh
from proxies.band.additive_cost import AdditiveCost, CategoricalSpace
from proxies.band.band import Band
from proxies.cost import Budget

REFIT_EVERY = 10
"""Evaluations after which the kernel is chosen anew; twice as many wherever their number has doubled, from `REFIT_OFTEN` on."""
REFIT_OFTEN = 200
MAX_KNOWN = 140
"""Evaluations that the surrogate knows at most, the best and the latest; the time it takes grows with the square of it and more."""
MAX_CHOOSING = 120
"""The same where the kernel is chosen."""
WORST = -3.0
"""Scores below, in deviations of the better half, count as this: how bad a network is that does not learn says nothing of the good ones."""
PARENTS = 12
"""The members of greatest expected score, from which candidates are bred."""
DRAWN = 16
"""Random members among the first parents of a proposal from scratch, from a pool of `MAX_DRAWN`."""
MAX_DRAWN = 256
KEPT = 24
"""The most promising candidates of a round, which the next one is bred from beside the parents."""
FURTHER_ROUNDS = 2
"""Generations of a proposal that goes on from the candidates of an earlier one."""


@dataclass(frozen=True)
class _Begun:
    """What the places behind one that begins from scratch go on from.

    Args:
        places: what its model knows, as places in its past.
        known: the same for a model.
        best: its most promising candidates.
    """

    places: NDArray[np.int64]
    known: Known
    best: NDArray[np.int64]


class SurrogateSampler(InBandSampler):
    """Fits a Gaussian process to what is known, and breeds candidates round by round, by what it promises them to be.

    One proposal in four breeds them from scratch. Those behind it go on from its candidates, with what is known by then: that finds as
    good ones in a fraction of the time.

    Whatever is finished counts, also what was enqueued: good architectures known from elsewhere save evaluations.

    Args:
        starts: evaluations from which on there is a surrogate; random draws come before.
        weight: of the standard deviation against the mean in the upper confidence bound; more of it explores more.
        rounds: generations of candidates of a proposal that begins from scratch.
        bred: candidates of a round, some of which turn out to lie outside.
    """

    group: ClassVar[int] = 4

    def __init__(
        self, space: CategoricalSpace, cost: AdditiveCost, budget: Budget, seed: int, *, band: Band | None = None, lag: int = 1,
        starts: int = 10, weight: float = 4.5, rounds: int = 5, bred: int = 150,
    ) -> None:
        super().__init__(space, cost, budget, seed, band=band, lag=lag)
        self.starts = starts
        self.weight = weight
        self.rounds = rounds
        self.bred = bred
        self._breeder = Breeder(self.band)
        self._features = Features(self.band.rows)
        self._chosen: tuple[bytes, Kernel] = (b"", Kernel())
        self._last: tuple[tuple[object, ...], _Begun] | None = None

    def propose(self, past: Past) -> Proposed:
        if len(past.rows) < self.starts:
            return Proposed(self.band.sample(past.rng)[None], "random")
        if past.first is None or len(past.first.rows) < self.starts:
            best = self._begun(past).best
        else:
            begun = self._begun(past.first)
            model, parents = self._model(past, begun.known, begun.places, len(past.first.rows))
            pool = np.concatenate((parents, begun.best))
            best = self._best(past, model, parents, pool, FURTHER_ROUNDS, np.random.default_rng(past.rng.getrandbits(64)))
        return Proposed(past.new(best), "surrogate")

    def _begun(self, past: Past) -> _Begun:
        """What is bred from parents and random members; kept, since the places that follow go on from it."""
        seed = past.rng.getrandbits(64)
        key = seed, past.rows.tobytes(), past.scores.tobytes(), past.pending.tobytes()
        if self._last is None or self._last[0] != key:
            places = _most_telling(past.scores, MAX_KNOWN)
            known = Known(self._features(past.rows[places]), self._kernel(past))
            model, parents = self._model(past, known, places, len(past.rows))
            numbers = np.random.default_rng(seed)
            pool = np.concatenate((parents, self._drawn[numbers.integers(len(self._drawn), size=DRAWN)]))
            self._last = key, _Begun(places, known, self._best(past, model, parents, pool, self.rounds, numbers))
        return self._last[1]

    def _model(self, past: Past, known: Known, places: NDArray[np.int64], since: int) -> tuple[GaussianProcess, NDArray[np.int64]]:
        """What is expected of members, and the ones among those with values of which most is.

        Args:
            known: members in some places of the past.
            since: from which place on the past is known beside them.
        """
        places = np.concatenate((places, np.arange(since, len(past.rows))))
        # Pending ones are believed, so that proposals do not crowd.
        others = np.concatenate((past.rows[since:], past.pending))
        model = GaussianProcess(known.beside(self._features(others)) if len(others) else known, _standardised(past.scores)[places])
        return model, past.rows[places[np.argsort(-model.expected, kind="stable")[:PARENTS]]]

    def _best(
        self, past: Past, model: GaussianProcess, parents: NDArray[np.int64], pool: NDArray[np.int64], rounds: int,
        numbers: np.random.Generator,
    ) -> NDArray[np.int64]:  # fmt: skip
        """The most promising of a pool and of what is bred from it, round by round, the first one first; none that the past knows."""
        best, bounds, others = pool[:0], np.empty(0), pool
        looked_at = past.known
        for _ in range(rounds):
            children = fresh(np.concatenate((others, self._bred(pool, numbers))), looked_at)
            means, deviations = model.predict(self._features(children))
            best, bounds = np.concatenate((best, children)), np.concatenate((bounds, means + self.weight * deviations))
            kept = np.argsort(-bounds, kind="stable")[:KEPT]
            best, bounds, others = best[kept], bounds[kept], pool[:0]
            pool = np.concatenate((parents, best))
        return best

    def _bred(self, pool: NDArray[np.int64], numbers: np.random.Generator) -> NDArray[np.int64]:
        first, second = pool[numbers.integers(len(pool), size=(2, self.bred))]
        return self._breeder.brood(first, second, self.bred * 2 // 3, numbers)

    def _kernel(self, past: Past) -> Kernel:
        """The kernel that the evaluations ask for which there were when it was to be chosen last."""
        count = len(past.rows)
        every = REFIT_EVERY * (1 << (count // REFIT_OFTEN).bit_length())
        until = max(count - count % every, self.starts)
        rows, scores = past.rows[:until], past.scores[:until]
        key = rows.tobytes() + scores.tobytes()
        if self._chosen[0] != key:
            places = _most_telling(scores, MAX_CHOOSING)
            self._chosen = key, chosen_kernel(self._features(rows[places]), _standardised(scores)[places])
        return self._chosen[1]

    @cached_property
    def _drawn(self) -> NDArray[np.int64]:
        rng = random.Random(self.seed)
        return np.array([self.band.sample(rng) for _ in range(MAX_DRAWN)])


def _standardised(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores around 0 in deviations of the better half, the worst cut off."""
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return np.zeros(len(scores))
    middle, high = np.interp((0.5, 0.9), np.linspace(0, 1, len(finite)), np.sort(finite))
    deviation = (high - middle) / 1.28 or 1.0
    return np.maximum((np.minimum(scores, finite.max()) - middle) / deviation, WORST)


def _most_telling(scores: Floats, count: int) -> NDArray[np.int64]:
    """Places (n,) of at most so many scores: the best half and the latest half."""
    ranks = np.argsort(np.argsort(-scores, kind="stable"))
    ranks[len(scores) - count // 2 :] = -1
    return np.sort(np.argsort(ranks, kind="stable")[:count])
