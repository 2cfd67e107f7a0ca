"""A budget's band as a place to train a supernet in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proxies.band.architecture_band import ArchitectureBand
from proxies.band.extremes import excess
from supernet.scope import Answers, Scope


def inside(band: ArchitectureBand) -> Scope:
    """The architectures of a band, drawn as it draws them."""
    places = {slot: {option: place for place, option in enumerate(options)} for slot, options in band.space.slots.items()}

    def outside(members: Sequence[Answers]) -> list[float]:
        rows = np.array([[place[answers[slot]] for slot, place in places.items()] for answers in members], dtype=np.int64)
        return excess(band.budget, band.costs(band.rows.canonical(rows))).tolist()

    return Scope(band.space, band.draw, outside)
