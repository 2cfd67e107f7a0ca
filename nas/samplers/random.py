"""Random search inside a budget's band."""

from __future__ import annotations

from nas.samplers.in_band import Candidates, InBandSampler
from nas.samplers.observed_trials import ObservedTrials


class InBandRandomSampler(InBandSampler):
    """Draws evenly over macro shapes, then evenly among the members of one; see `Band.sample`."""

    def propose(self, trials: ObservedTrials) -> Candidates:
        return self.random_candidate(trials)
