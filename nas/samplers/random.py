"""Random search inside a budget's band."""

from __future__ import annotations

from nas.samplers.in_band import InBandSampler, Past, Proposed


class InBandRandomSampler(InBandSampler):
    """Draws evenly over macro shapes, then evenly among the members of one; see `Band.sample`."""

    def propose(self, past: Past) -> Proposed:
        return Proposed(self.band.sample(past.rng)[None], "random")
