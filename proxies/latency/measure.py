"""Measures networks, and the parts that they are made of, turn by turn.

A machine has slow phases. Everything that is to be compared takes its turn in every round, in another order each time, and in
between a network is watched that tells the pace, see `proxies.latency.pace`.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from proxies.band.space_cost import Keys
from proxies.latency.backends import Backend, Clock, Run, backend_of
from proxies.latency.pace import Measured, Pace, PacedTimes, Repeats
from proxies.macs import cost_of
from proxies.target import Target
from space.architecture import Architecture, Part
from space.fuse import fuse
from space.network import build_network, build_part

VISIT_NS = 20_000_000
MOST_VISITED = 20
"""A network's turn is timed for so long, or so many runs, after it has warmed up for as many."""
SECONDS_UNSAVED = 5.0
"""What is measured by rounds is kept so often."""
OnProgress = Callable[[int, int], None]
"""Told what is done, and of how much."""
Keep = Callable[[int, Repeats], None]
"""Keeps what so many rounds have measured."""


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
class Session:
    """What was measured in turn.

    Args:
        parts: by key.
        networks: in the order of their architectures.
        pace: the agreed one.
        turns: by how much the machine's own pace went up and down meanwhile, relative.
    """

    parts: Mapping[str, Measured]
    networks: Sequence[Measured]
    pace: Pace
    turns: float


def measure_architecture(architecture: Architecture, target: Target, effort: Effort = FINALIST, pace: Pace | None = None) -> Measured:
    """Measure one architecture's fused network, freshly initialised, on random images.

    Raises TargetError where this machine lacks the target.
    """
    return measure_architectures([architecture], target, effort, pace)[0]


def measure_architectures(
    architectures: Sequence[Architecture], target: Target, effort: Effort = FINALIST, pace: Pace | None = None
) -> Sequence[Measured]:
    """Measure several architectures in turn, at an agreed pace or at that of these minutes; their networks are in memory together."""
    return measure_turns({}, [], architectures, target, effort, random.Random(0), pace).networks


def measure_turns(
    parts: Mapping[str, Part],
    walks: Sequence[Sequence[Keys]],
    architectures: Sequence[Architecture],
    target: Target,
    effort: Effort,
    rng: random.Random,
    pace: Pace | None = None,
    on_progress: OnProgress = lambda done, total: None,
    begun: tuple[int, Repeats] | None = None,
    keep: Keep | None = None,
) -> Session:
    """Measure parts along walks through them (see `SpaceParts`), and whole networks, all in turn.

    A part is timed inside a walk: its input has just been written and its weights have left the nearest cache, as in a network.

    Args:
        pace: an agreed one; else that of the session, told by the network of median multiply-adds.
        begun: rounds of the same that another process has measured, and what; they count where the machine has its pace of then.
        keep: is told every few seconds, between rounds, of all that was measured.
    """
    backend = backend_of(target)
    num_prepared = len(parts) + len(architectures)
    watched = pace.architecture if pace else sorted(architectures, key=lambda one: cost_of(one).macs)[len(architectures) // 2]
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
        of_pace = _prepared_network(watched, backend) if pace else networks[architectures.index(watched)]
        clock = backend.clock
        visits = [_Visits(run, clock) for run in networks]

        def turns() -> list[tuple[Sequence[str], Callable[[], list[int]]]]:
            """One round in random order: labels, and what tells their times."""
            drawn: list[tuple[Sequence[str], Callable[[], list[int]]]] = []
            for walk in walks:
                keys = [key for segment in walk for key in rng.sample(segment, len(segment))]
                value = backend.value(_map_of(parts[keys[0]], target.batch))
                drawn.append((keys, partial(_times, [runs[key] for key in keys], value, clock)))
            drawn += [([label_of(i)] * visit.num, visit.times) for i, visit in enumerate(visits)]
            rng.shuffle(drawn)
            return drawn

        started = time.perf_counter()
        for _, take in turns():  # A round to warm up, and to see how long one takes.
            take()
        num_rounds = effort.rounds(time.perf_counter() - started)
        done, repeats = begun or (0, None)
        times = PacedTimes(_Visits(of_pace, clock).median, pace.nanoseconds if pace else None, repeats)
        kept = time.monotonic()
        for number in range(done + 1 if times.goes_on else 1, num_rounds + 1):
            for labels, take in turns():
                times.add(labels, take())
            if number == num_rounds:
                times.settle()
            elif keep is not None and time.monotonic() - kept >= SECONDS_UNSAVED:
                keep(number, times.repeats())
                kept = time.monotonic()
            on_progress(num_prepared + number, num_prepared + num_rounds)
    return Session(
        {key: times.measured(key) for key in parts},
        [times.measured(label_of(i)) for i in range(len(architectures))],
        Pace(architecture=watched, nanoseconds=times.pace_ns),
        times.turns,
    )


def label_of(network: int) -> str:
    """What a network's runs are called, by its number; a part's are called by its key."""
    return f"network {network}"


class _Visits:
    """Runs a network several times, as often for nothing first: people run one again and again, and others have emptied the caches."""

    def __init__(self, run: Run, clock: Clock) -> None:
        self._run, self._clock = run, clock
        self.num = min(max(VISIT_NS // max(self._timed(2)[1], 1), 1), MOST_VISITED)

    def times(self) -> list[int]:
        """Nanoseconds of every run of a visit."""
        return self._timed(2 * self.num)[self.num :]

    def median(self) -> int:
        """The median of a visit's."""
        return round(statistics.median(self.times()))

    def _timed(self, num: int) -> list[int]:
        return _times([self._run] * num, None, self._clock)


def _times(runs: Sequence[Run], value: Any, clock: Clock) -> list[int]:
    """Nanoseconds of runs, each on what the one before returns."""
    marks = [clock.mark()]
    for run in runs:
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
