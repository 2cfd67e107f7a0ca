"""Times in units of a reference network, which runs again and again while others are timed.

The same processor is faster or slower by a third from one minute to the next where neighbours share its cores, its heat or its
memory. All networks slow down nearly alike, so times are divided by those of the reference network, and multiplied by its nominal
nanoseconds in the end.
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
"""Of the repeats: the least ones are lucky, the greatest ones were interrupted."""
BUSY = 0.15
"""Repeats of an idle device spread by less."""
MAX_CHANGE = 0.1
"""Where the reference network's time changes by more between two readings, repeats in between are left out."""
MAX_RATIO = 2.0
"""A machine's slow and fast phases differ by less, and networks slow down alike between them."""
NS_BETWEEN_READINGS = 1_000_000_000
Nanoseconds = Annotated[int, Field(ge=1, le=10**15)]
"""Of one pass: up to eleven days, so that sums of them are exact."""


class ReferenceClock(Value):
    """The reference network, and the nanoseconds that it nominally takes."""

    architecture: Architecture
    nanoseconds: Nanoseconds


@dataclass(frozen=True)
class Measured:
    """A latency as it was measured.

    Args:
        nanoseconds: a low quantile of the repeats, scaled to the nominal speed.
        spread: how much longer than that the median repeat took, relative.
        repeats: how many there were.
        slowness: how much slower than nominal the machine was; by its own clock the network took that many times `nanoseconds`.
    """

    nanoseconds: int
    spread: float
    repeats: int
    slowness: float = 1.0

    @classmethod
    def of(cls, times: Sequence[float], slowness: float = 1.0) -> Measured:
        """Repeats, each in nanoseconds, as one latency."""
        low, median = np.quantile(times, [QUANTILE, 0.5])
        return cls(max(round(low), 1), float(median / low - 1) if low else 0.0, len(times), slowness)

    @property
    def is_busy(self) -> bool:
        """Whether the machine did other things meanwhile."""
        return self.spread > BUSY


class Repeat(NamedTuple):
    """A run's time in units of the reference network, and whether that took the same time before and after."""

    ratio: Annotated[float, Field(ge=0)]
    is_steady: bool


class Repeats(Value):
    """Timed runs, as another process needs them to continue.

    Args:
        readings: nanoseconds of the reference network, each time that it ran.
        runs: by label.
    """

    readings: Annotated[tuple[Nanoseconds, ...], Field(min_length=1)]
    runs: dict[str, tuple[Repeat, ...]]

    def agrees_with(self, reading: int) -> bool:
        """Whether the machine is about as fast as then; a much slower or faster one is another machine, or set up otherwise."""
        low, high = np.quantile(self.readings, (0.1, 0.9))
        return bool(low / MAX_RATIO <= reading <= high * MAX_RATIO)


class Timer:
    """Collects times of runs by label.

    Args:
        read: runs the reference network and returns its nanoseconds.
        nominal_ns: what that nominally takes; by default a low quantile of the readings.
        earlier: repeats of another process. They are dropped where the machine's speed is another one now.
    """

    def __init__(self, read: Callable[[], int], nominal_ns: int | None = None, earlier: Repeats | None = None) -> None:
        self._read, self._nominal_ns = read, nominal_ns
        now = max(read(), 1)
        self.continues = earlier is not None and earlier.agrees_with(now)
        self._repeats: defaultdict[str, list[Repeat]] = defaultdict(list)
        self._pending: list[tuple[str, int]] = []
        self._readings = [now]
        if earlier is not None and self.continues:
            self._repeats |= {label: list(repeats) for label, repeats in earlier.runs.items()}
            # Nothing was timed between the last reading of then and the first one of now.
            self._readings = [*earlier.readings, now]

    def add(self, labels: Sequence[str], nanoseconds: Sequence[int]) -> None:
        """Record runs in the order in which they ran; the reference network runs after every second of them."""
        self._pending += zip(labels, nanoseconds, strict=True)
        if sum(time for _, time in self._pending) >= NS_BETWEEN_READINGS:
            self.flush()

    def flush(self) -> None:
        """Run the reference network for what was recorded since the last time."""
        if not self._pending:
            return
        before, after = self._readings[-1], max(self._read(), 1)
        is_steady = abs(after / before - 1) <= MAX_CHANGE
        for label, time in self._pending:
            self._repeats[label].append(Repeat(2 * time / (before + after), is_steady))
        self._pending.clear()
        self._readings.append(after)

    def repeats(self) -> Repeats:
        """All that was timed so far."""
        self.flush()
        return Repeats(readings=tuple(self._readings), runs={label: tuple(repeats) for label, repeats in self._repeats.items()})

    @property
    def nominal_ns(self) -> int:
        """What the reference network nominally takes."""
        return self._nominal_ns or max(round(float(np.quantile(self._readings, QUANTILE))), 1)

    def measured(self, label: str) -> Measured:
        """The latency of a label: of its steady repeats, if there are any."""
        repeats = self._repeats[label]
        ratios = [repeat.ratio for repeat in repeats if repeat.is_steady] or [repeat.ratio for repeat in repeats]
        return Measured.of([ratio * self.nominal_ns for ratio in ratios], float(np.median(self._readings)) / self.nominal_ns)

    @property
    def drift(self) -> float:
        """By how much the machine's speed changed: the slowest against the fastest tenth of the readings, relative."""
        fast, slow = np.quantile(self._readings, (0.1, 0.9))
        return float(slow / fast - 1)
