"""The sampling domain of a supernet's training: a space, or a budget's band."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proxies.band.architecture_band import ArchitectureBand
from proxies.band.extremes import excess
from space.search_space import SearchSpace
from supernet.sampling_domain import Choices, SamplingDomain, whole_space


def sampling_domain(space: SearchSpace, band: ArchitectureBand | None) -> SamplingDomain:
    """A band as sampling domain; without one, the whole space."""
    if band is None:
        return whole_space(space)
    indices = {slot: {option: index for index, option in enumerate(options)} for slot, options in band.space.slots.items()}

    def excess_of(architectures: Sequence[Choices]) -> list[float]:
        rows = np.array([[index[choices[slot]] for slot, index in indices.items()] for choices in architectures], dtype=np.int64)
        return excess(band.budget, band.costs(band.rows.canonical(rows))).tolist()

    return SamplingDomain(band.space, band.draw, excess_of)
