"""How fast a machine is at the moment, told by one network that it runs again and again.

The same processor is quicker or slower by a third from one minute to the next where neighbours share its cores, its heat or its
memory. Other networks slow down nearly as much as the one that is watched, so times are told in those of that network, and
come back to nanoseconds at one agreed pace.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from space.architecture import Architecture
from space.registry import Value

QUANTILE = 0.25
"""Of the repeats: the least ones would be lucky, the greatest ones were interrupted."""
BUSY = 0.15
"""A greater spread than this is not the device's own."""
MAX_TURN = 0.1
"""Where the pace changes by more between two looks at it, what was measured in between is set aside."""
MAX_APART = 2.0
"""A machine's slow and quick phases differ by less, and networks slow down alike between them."""
LOOK_EVERY_NS = 1_000_000_000
Nanoseconds = Annotated[int, Field(ge=1, le=10**15)]
"""Of one pass: up to eleven days, so that sums of them are exact."""


class Pace(Value):
    """An agreed pace: that at which a network takes so many nanoseconds."""

    architecture: Architecture
    nanoseconds: Nanoseconds


@dataclass(frozen=True)
class Measured:
    """A latency as it was measured.

    Args:
        nanoseconds: a low quantile of the repeats, at the agreed pace.
        spread: how much longer than that the median repeat took, relative.
        repeats: how many there were.
        slowness: how much longer than at the agreed pace everything took meanwhile; what the clock showed is that many times `nanoseconds`.
    """

    nanoseconds: int
    spread: float
    repeats: int
    slowness: float = 1.0

    @property
    def is_busy(self) -> bool:
        """Whether the machine did other things meanwhile."""
        return self.spread > BUSY


class Repeat(NamedTuple):
    """A run's time in those of the watched network, and whether the pace was the same before and after."""

    share: Annotated[float, Field(ge=0)]
    is_steady: bool


class Repeats(Value):
    """Runs that were timed, as another process needs them to go on.

    Args:
        looks: nanoseconds of the watched network, each time that it was looked at.
        runs: by label.
    """

    looks: Annotated[tuple[Nanoseconds, ...], Field(min_length=1)]
    runs: dict[str, tuple[Repeat, ...]]

    def go_with(self, look: int) -> bool:
        """Whether the machine still runs at a pace that it had; much slower or quicker it is another one, or set otherwise."""
        low, high = np.quantile(self.looks, (0.1, 0.9))
        return bool(low / MAX_APART <= look <= high * MAX_APART)


class PacedTimes:
    """Collects times of runs by label.

    Args:
        look: runs the watched network; its nanoseconds.
        agreed_ns: what that takes at the agreed pace; by default what it took meanwhile, by a low quantile.
        begun: what was timed before, forgotten where the pace is another one now.
    """

    def __init__(self, look: Callable[[], int], agreed_ns: int | None = None, begun: Repeats | None = None) -> None:
        self._look = look
        self._agreed_ns = agreed_ns
        now = max(look(), 1)
        self.goes_on = begun is not None and begun.go_with(now)
        self._repeats: defaultdict[str, list[Repeat]] = defaultdict(list)
        self._waiting: list[tuple[str, int]] = []
        self._looks = [now]
        if begun is not None and self.goes_on:
            self._repeats |= {label: list(repeats) for label, repeats in begun.runs.items()}
            # Nothing was timed between the last look of then and the first one of now.
            self._looks = [*begun.looks, now]

    def add(self, labels: Sequence[str], nanoseconds: Sequence[int]) -> None:
        """Take down some runs one after another, and look at the pace where it is time to."""
        self._waiting += zip(labels, nanoseconds, strict=True)
        if sum(time for _, time in self._waiting) >= LOOK_EVERY_NS:
            self.settle()

    def settle(self) -> None:
        """Look at the pace, for what has been taken down since the last time."""
        if not self._waiting:
            return
        before, after = self._looks[-1], max(self._look(), 1)
        is_steady = abs(after / before - 1) <= MAX_TURN
        for label, time in self._waiting:
            self._repeats[label].append(Repeat(2 * time / (before + after), is_steady))
        self._waiting.clear()
        self._looks.append(after)

    def repeats(self) -> Repeats:
        """All that was timed so far."""
        self.settle()
        return Repeats(looks=tuple(self._looks), runs={label: tuple(repeats) for label, repeats in self._repeats.items()})

    @property
    def pace_ns(self) -> int:
        """What the watched network takes at the agreed pace."""
        return self._agreed_ns or max(round(float(np.quantile(self._looks, QUANTILE))), 1)

    def measured(self, label: str) -> Measured:
        """Sum up a label's repeats: the steady ones, if there are any."""
        repeats = self._repeats[label]
        shares = [repeat.share for repeat in repeats if repeat.is_steady] or [repeat.share for repeat in repeats]
        return summed_up([share * self.pace_ns for share in shares], float(np.median(self._looks)) / self.pace_ns)

    @property
    def turns(self) -> float:
        """By how much the pace itself went up and down: between its quickest and its slowest tenth, relative."""
        quick, slow = np.quantile(self._looks, (0.1, 0.9))
        return float(slow / quick - 1)


def summed_up(times: Sequence[float], slowness: float = 1.0) -> Measured:
    """Repeats, each in nanoseconds, as one latency."""
    low, median = np.quantile(times, [QUANTILE, 0.5])
    return Measured(max(round(low), 1), float(median / low - 1) if low else 0.0, len(times), slowness)
