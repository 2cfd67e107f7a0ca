"""A budget's band as a place to train a supernet in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proxies.architecture_band import ArchitectureBand
from supernet.scope import Answers, Scope


def inside(band: ArchitectureBand) -> Scope:
    """The architectures of a band, drawn as it draws them."""
    places = {slot: {option: place for place, option in enumerate(options)} for slot, options in band.space.slots.items()}
    limits = np.array(list(band.budget.limits.values()))

    def excess(members: Sequence[Answers]) -> list[float]:
        """As `Budget.excess`, for many members at once."""
        rows = np.array([[place[answers[slot]] for slot, place in places.items()] for answers in members], dtype=np.int64)
        costs = band.costs(band.rows.canonical(rows))
        return np.maximum(((costs - limits) / limits).max(axis=1), (band.budget.least - costs[:, 0]) / limits[0]).tolist()

    return Scope(band.space, band.draw, excess)
