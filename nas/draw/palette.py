"""The colour of a mixer in every drawing: distinct for the colour-blind, and a new mixer gets its own.

The colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/). Mixers beyond the number of colours get the same
colours with a hatch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from space.kinds import MIXERS

COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
HATCHES = ("", "//", "..", "xx")
NEUTRAL = "#B4B4B4"
"""Of stems, downsamplers and heads."""


@dataclass(frozen=True)
class Fill:
    """How an area is filled: a colour, and a hatch in matplotlib's notation, mostly none."""

    colour: str
    hatch: str = ""


def fill_of(mixer: str) -> Fill:
    """How the areas of a registered mixer are filled."""
    # Sorted: the order of registration depends on the order of imports.
    return _fills(tuple(sorted(MIXERS.names())))[mixer]


@lru_cache
def _fills(mixers: tuple[str, ...]) -> Mapping[str, Fill]:
    places = {mixer: divmod(place, len(COLOURS)) for place, mixer in enumerate(mixers)}
    return {mixer: Fill(COLOURS[index], HATCHES[round_ % len(HATCHES)]) for mixer, (round_, index) in places.items()}
