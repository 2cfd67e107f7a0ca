"""Measures networks, and the parts that they are made of, turn by turn.

A machine has slow phases. Everything that is to be compared takes its turn in every round, in another order each time, so
that a slow phase meets all alike, and a low quantile over the rounds leaves it out.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from proxies.latency.backends import Backend, Run, backend_of
from proxies.space_parts import Keys
from proxies.target import Target
from space.architecture import Architecture, Part
from space.fuse import fuse
from space.network import build_network, build_part

QUANTILE = 0.1
"""Of the repeats; the least one would be a lucky one."""
BUSY = 0.15
"""A greater spread than this is not the device's own."""
VISIT_NS = 20_000_000
MOST_VISITED = 20
"""A network's turn is timed for so long, or so many runs, after it has warmed up for as many."""
OnProgress = Callable[[int, int], None]
"""Told what is done, and of how much."""


@dataclass(frozen=True)
class Effort:
    """How many rounds are measured, the first one only to warm up: what fits into some seconds, within bounds."""

    seconds: float = 150.0
    least_rounds: int = 8
    most_rounds: int = 40

    def rounds(self, seconds_a_round: float) -> int:
        """The number of rounds where one takes so long."""
        return min(max(round(self.seconds / max(seconds_a_round, 1e-9)), self.least_rounds), self.most_rounds)


FINALIST = Effort(seconds=8.0, least_rounds=12)
"""A few networks by themselves."""


@dataclass(frozen=True)
class Measured:
    """A latency as it was measured.

    Args:
        nanoseconds: a low quantile of the repeats.
        spread: how much longer than that the median repeat took, relative.
        repeats: how many there were.
    """

    nanoseconds: int
    spread: float
    repeats: int

    @property
    def is_busy(self) -> bool:
        """Whether the machine did other things meanwhile."""
        return self.spread > BUSY


def measured(times: Sequence[int]) -> Measured:
    """Sum up repeats, each in nanoseconds."""
    low, median = np.quantile(times, [QUANTILE, 0.5])
    return Measured(max(round(low), 1), float(median / low - 1) if low else 0.0, len(times))


def measure_architecture(architecture: Architecture, target: Target, effort: Effort = FINALIST) -> Measured:
    """Measure one architecture's fused network, freshly initialised, on random images.

    Raises TargetError where this machine lacks the target.
    """
    return measure_architectures([architecture], target, effort)[0]


def measure_architectures(
    architectures: Sequence[Architecture], target: Target, effort: Effort = FINALIST, on_progress: OnProgress = lambda done, total: None
) -> list[Measured]:
    """Measure several architectures in turn; their networks are in memory together."""
    return measure_turns({}, [], architectures, target, effort, random.Random(0), on_progress)[1]


def measure_turns(
    parts: Mapping[str, Part],
    walks: Sequence[Sequence[Keys]],
    architectures: Sequence[Architecture],
    target: Target,
    effort: Effort,
    rng: random.Random,
    on_progress: OnProgress,
) -> tuple[dict[str, Measured], list[Measured]]:
    """Measure parts along walks through them (see `SpaceParts`), and whole networks, all in turn.

    A part is timed inside a walk: its input has just been written and its weights have left the nearest cache, as in a network.
    """
    backend = backend_of(target)
    num_prepared = len(parts) + len(architectures)
    with torch.random.fork_rng(devices=[]), backend.running():
        torch.manual_seed(0)
        runs: dict[str, Run] = {}
        for key, part in parts.items():
            runs[key] = _prepared_part(part, backend)
            on_progress(len(runs), num_prepared + effort.most_rounds)
        networks: list[Run] = []
        for architecture in architectures:
            networks.append(_prepared_network(architecture, backend))
            on_progress(len(runs) + len(networks), num_prepared + effort.most_rounds)

        def turns() -> list[_Turn]:
            """One round, in random order."""
            walked = [[key for segment in walk for key in rng.sample(segment, len(segment))] for walk in walks]
            drawn = [_Turn(keys, [runs[key] for key in keys], backend.value(_map_of(parts[keys[0]], target.batch))) for keys in walked]
            # As often for nothing first: people run a network again and again, and what ran before has emptied the caches.
            drawn += [_Turn([_WARM_UP] * n + [i] * n, [run] * 2 * n, None) for i, (run, n) in enumerate(zip(networks, visits, strict=True))]
            rng.shuffle(drawn)
            return drawn

        visits = [1] * len(networks)
        times: defaultdict[str | int, list[int]] = defaultdict(list)
        num_rounds, done = effort.most_rounds, 0
        started = time.perf_counter()
        while done < num_rounds:
            for turn in turns():
                for label, nanoseconds in zip(turn.labels, turn.times(backend), strict=True):
                    times[label].append(nanoseconds)
            if not done:
                num_rounds = effort.rounds(time.perf_counter() - started)
                visits = [min(max(VISIT_NS // max(times[i][0], 1), 1), MOST_VISITED) for i in range(len(networks))]
                times.clear()  # the first round warmed up
            done += 1
            on_progress(num_prepared + done, num_prepared + num_rounds)
    return {key: measured(times[key]) for key in parts}, [measured(times[i]) for i in range(len(architectures))]


_WARM_UP = ""


@dataclass(frozen=True)
class _Turn:
    """What runs one behind the other, and under what labels its times are kept."""

    labels: Sequence[str | int]
    runs: Sequence[Run]
    value: Any

    def times(self, backend: Backend) -> list[int]:
        """Nanoseconds that each of them takes."""
        value, clock = self.value, backend.clock
        marks = [clock.mark()]
        for run in self.runs:
            value = run(value)
            marks.append(clock.mark())
        return clock.between(marks)


def _prepared_part(part: Part, backend: Backend) -> Run:
    return backend.prepared(fuse(build_part(part)), _map_of(part, backend.target.batch))


def _map_of(part: Part, batch: int) -> torch.Tensor:
    """A random map (B, H, W, C) that a part takes."""
    return torch.randn(batch, *part.in_size, part.widths[0])


def _prepared_network(architecture: Architecture, backend: Backend) -> Run:
    """A network that always runs on the same images, whatever it is given."""
    images_BCHW = torch.randn(backend.target.batch, architecture.in_chans, *(architecture.image_size,) * 2)
    run, images = backend.prepared(build_network(architecture).fuse(), images_BCHW), backend.value(images_BCHW)
    return lambda _: run(images)
