"""Members of a band whose operators are drawn evenly.

`Band.sample` draws a shape evenly, then a member of that shape. In a tight band most shapes have room for cheap operators alone, so nearly
all such members hold the cheapest ones. Here it is the other way round: the operators are drawn first, then a member that has them.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from proxies.band.additive_cost import CategoricalOption, Row
from proxies.band.band import Band
from proxies.band.fixed_slots import sample_with

OPERATORS = (".mixer", ".ffn")
"""Ends of the names of slots that are drawn evenly."""
MAX_TRIES = 20
"""Choices of operators that no member has together, before a member is drawn as the band does."""


def sample_evenly(band: Band, rng: random.Random) -> Row:
    """Draw a member with even operators; in a space without operators, and where they hardly fit together, as `Band.sample` does."""
    if any(name.endswith(OPERATORS) for name in band.space.slots):
        for _ in range(MAX_TRIES):
            if (row := try_evenly(band, rng)) is not None:
                return row
    return band.sample(rng)


def try_evenly(band: Band, rng: random.Random) -> Row | None:
    """Draw operators slot by slot, each as likely as the others, and then a member that has them; None where no member does."""
    operators = {name: _evenly(options, rng) for name, options in band.space.slots.items() if name.endswith(OPERATORS)}
    return sample_with(band, operators, rng)


def _evenly(options: Sequence[CategoricalOption], rng: random.Random) -> CategoricalOption:
    """An operator evenly, then one of its options, so that one with many settings is no likelier."""
    by_operator: defaultdict[str, list[CategoricalOption]] = defaultdict(list)
    for option in options:
        by_operator[str(option).partition("(")[0]].append(option)
    return rng.choice(by_operator[rng.choice(list(by_operator))])
